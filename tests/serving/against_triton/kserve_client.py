"""Sends tensors of each data type by KServe's clients, and prints the answers as JSON.

``python kserve_client.py HTTP GRPC``: the arguments are ports, standard input has the values by data type. This file
runs in an interpreter with KServe, and imports nothing of the project.
"""

import asyncio
import json
import sys
from typing import Any

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, RESTConfig  # pyright: ignore[reportMissingImports]
from kserve.protocol.infer_type import (  # pyright: ignore[reportMissingImports]
    InferInput,
    InferRequest,
    RequestedOutput,
)
from kserve.utils.numpy_codec import to_np_dtype  # pyright: ignore[reportMissingImports]

FORMS = {True: "binary", False: "JSON", None: "the default"}


def array_of(datatype: str, values: list) -> np.ndarray:
    if datatype == "BYTES":
        return np.array([[text.encode() for text in row] for row in values], np.object_)
    return np.array(values, to_np_dtype(datatype))


def fields_of(response: Any) -> dict[str, str]:
    fields = {"code": "ok", "model": str(response.model_name), "version": str(response.model_version)}
    fields["id"] = "set" if response.id else ""  # the client makes one of random digits
    fields["parameters"] = str(response.parameters or {})
    for output in response.outputs:
        array = output.as_numpy()
        listed = [text.decode() if isinstance(text, bytes) else str(text) for text in array.ravel()]
        data = str(listed) if array.dtype == np.object_ else array.tobytes().hex()
        fields |= {f"{output.name} datatype": output.datatype, f"{output.name} shape": str(list(output.shape))}
        fields |= {f"{output.name} values": data, f"{output.name} parameters": str(output.parameters or {})}
    return fields


async def answer(call: Any, read: Any = fields_of) -> tuple[dict[str, str], str]:
    try:
        return read(await call), ""
    except Exception as error:  # noqa: BLE001 - the clients raise errors of several libraries
        status = getattr(getattr(error, "response", None), "status_code", None)
        code = status or (error.code() if isinstance(error, grpc.RpcError) else type(error).__name__)
        return {"code": str(code)}, str(error)


def request(datatype: str, array: np.ndarray, binary: bool, outputs: Any = None) -> Any:
    x = InferInput("x", list(array.shape), datatype)
    x.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model_name=datatype, infer_inputs=[x], request_outputs=outputs)


def plain(value: Any) -> dict[str, str]:
    return {"code": "ok", "answer": str(value)}


async def over_rest(base: str, values: dict[str, list]) -> dict[str, Any]:
    found = {}
    async with InferenceRESTClient(RESTConfig(protocol="v2", verbose=False)) as client:
        found["kserve rest live"] = await answer(client.is_server_live(base), plain)
        found["kserve rest ready"] = await answer(client.is_server_ready(base), plain)
        for model in ("FP32", "none"):
            found[f"kserve rest ready {model}"] = await answer(client.is_model_ready(base, model), plain)
        for datatype, rows in values.items():
            array = array_of(datatype, rows)
            for binary in (True, False):
                for wanted in (True, False, None):
                    outputs = None if wanted is None else [RequestedOutput("y", {"binary_data": wanted})]
                    name = f"kserve rest {datatype}, {FORMS[binary]} to {FORMS[wanted]}"
                    sent = request(datatype, array, binary, outputs)
                    found[name] = await answer(client.infer(base, sent, model_name=datatype))
            tensor = {"name": "x", "datatype": datatype, "shape": list(array.shape), "data": rows}
            call = client.infer(base, {"inputs": [tensor]}, model_name=datatype)
            found[f"kserve rest {datatype}, a dictionary"] = await answer(call)
        wrong = request("INT32", array_of("INT32", values["INT32"]), True)
        found["kserve rest error, another data type"] = await answer(client.infer(base, wrong, model_name="FP32"))
        found["kserve rest error, no model"] = await answer(client.infer(base, wrong, model_name="none"))
    return found


async def over_grpc(port: str, values: dict[str, list]) -> dict[str, Any]:
    client = InferenceGRPCClient(f"127.0.0.1:{port}")
    found = {"kserve grpc live": await answer(client.is_server_live(), plain)}
    found["kserve grpc ready"] = await answer(client.is_server_ready(), plain)
    for model in ("FP32", "none"):
        found[f"kserve grpc ready {model}"] = await answer(client.is_model_ready(model), plain)
    for datatype, rows in values.items():
        for raw in (True, False):
            sent = request(datatype, array_of(datatype, rows), raw)
            found[f"kserve grpc {datatype}, {'raw' if raw else 'typed'}"] = await answer(client.infer(sent))
    wrong = request("INT32", array_of("INT32", values["INT32"]), True)
    wrong.model_name = "FP32"
    found["kserve grpc error, another data type"] = await answer(client.infer(wrong))
    await client.close()
    return found


async def main(http: str, grpc: str) -> None:
    values = json.load(sys.stdin)
    print(json.dumps(await over_rest(f"http://127.0.0.1:{http}", values) | await over_grpc(grpc, values)))


asyncio.run(main(*sys.argv[1:]))
