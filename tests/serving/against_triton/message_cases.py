"""What other clients send: JSON whose data are flat or nested, binary tensors, raw and typed contents, streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tests.serving.against_triton.answers import Answer
from tests.serving.against_triton.connections import Case, Connections
from tests.serving.against_triton.messages import (
    Input,
    Request,
    send_binary,
    send_json,
    send_raw,
    send_stream,
    send_typed,
)
from tests.serving.against_triton.models import MODELS, values

Send = Callable[[Connections, Request], Answer]
SENDERS: Mapping[str, Send] = {
    "JSON": send_json,
    "nested JSON": lambda connections, request: send_json(connections, request, nested=True),
    "binary": send_binary,
    "raw": send_raw,
    "typed": send_typed,
    "stream": send_stream,
}
_OUTPUTS: Mapping[str, Any] = {
    "not named": {},
    "named": {"outputs": [{"name": "y"}]},
    "binary": {"outputs": [{"name": "y", "parameters": {"binary_data": True}}]},
    "JSON": {"outputs": [{"name": "y", "parameters": {"binary_data": False}}]},
    "binary by default": {"more": {"parameters": {"binary_data_output": True}}},
    "JSON, binary by default": {
        "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
        "more": {"parameters": {"binary_data_output": True}},
    },
}
_SPECIAL = np.array([[np.nan, np.inf], [-np.inf, -0.0]])
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "an id": {"id": "a b"},
    "a version": {},
    "a priority": {"parameters": {"priority": 1}},
    "a timeout": {"parameters": {"timeout": 10_000_000}},
    "a sequence": {"parameters": {"sequence_id": 7, "sequence_start": True, "sequence_end": True}},
    "other parameters": {"parameters": {"color": "red", "number": 7, "flag": True}},
    "a fraction as a parameter": {"parameters": {"share": 0.5}},
    "a reserved parameter": {"parameters": {"triton_none": "x"}},
}


def each_sender(about: str, request: Request, senders: Mapping[str, Send] = SENDERS) -> Iterator[Case]:
    for name, send in senders.items():
        yield Case(f"message {name}: {about}", _bound(send, request))


def cases() -> Iterator[Case]:
    for datatype in (name for name in MODELS if name.isupper()):
        for about, more in _OUTPUTS.items():
            request = Request(datatype, [Input(values(datatype), datatype)], **more)
            over_grpc = about in ("not named", "named")
            senders = {name: send for name, send in SENDERS.items() if over_grpc or "JSON" in name or name == "binary"}
            yield from each_sender(f"{datatype}, output {about}", request, senders)
        empty = Request(datatype, [Input(values(datatype)[:, :0], datatype)])
        yield from each_sender(f"{datatype} empty", empty)
    for datatype, dtype in (("FP32", np.float32), ("FP64", np.float64), ("FP16", np.float16)):
        special = Request(datatype, [Input(_SPECIAL.astype(dtype), datatype)])
        yield from each_sender(f"{datatype} NaN and infinity", special, {"binary": send_binary, "raw": send_raw})
        binary = Request(
            datatype, [Input(_SPECIAL.astype(dtype), datatype)], [{"name": "y", "parameters": {"binary_data": True}}]
        )
        yield from each_sender(f"{datatype} NaN and infinity, output binary", binary, {"binary": send_binary})
    several = [
        Input(np.array([1.5, -2], np.float32), "FP32", "a"),
        Input(np.array([b"one", b"", b"three"], np.object_), "BYTES", "b"),
        Input(np.array([[1], [2]]), "INT64", "c"),
    ]
    yield from each_sender("several", Request("several", several))
    yield from each_sender("several, some outputs", Request("several", several, [{"name": "r"}, {"name": "q"}]))
    mixed = [
        {"name": "q", "parameters": {"binary_data": True}},
        {"name": "p"},
        {"name": "r", "parameters": {"binary_data": True}},
    ]
    over_http = {"JSON": send_json, "binary": send_binary}
    yield from each_sender("several, outputs of both forms", Request("several", several, mixed), over_http)
    x = Input(values("FP32"), "FP32")
    for about, more in _OPTIONS.items():
        yield from each_sender(about, Request("FP32", [x], version="1" if about == "a version" else "", more=more))
    not_text = Input(np.array([[b"\xff\xfe", b"a"]], np.object_), "BYTES")
    yield from each_sender(
        "bytes that are not UTF-8", Request("BYTES", [not_text]), {"binary": send_binary, "raw": send_raw}
    )
    bools = Input(np.array([[0, 1, 2, 255]], np.uint8), "BOOL")
    yield from each_sender("BOOL of other bytes", Request("BOOL", [bools]), {"binary": send_binary, "raw": send_raw})


def _bound(send: Send, request: Request) -> Callable[[Connections], Answer]:
    return lambda connections: send(connections, request)
