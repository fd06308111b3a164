"""Tensors in system shared memory, by both of Triton's clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException
from tritonclient.utils import shared_memory as triton_shm

from tests.serving.against_triton import answers
from tests.serving.against_triton.answers import Answer
from tests.serving.against_triton.connections import Case, Connections
from tests.serving.against_triton.messages import Input
from tests.serving.against_triton.models import MODELS, values

_BYTES = 4096
_MODULES = {"http": triton_http, "grpc": triton_grpc}
# Offsets and sizes of the input and the output, which have 24 bytes.
_RANGES = {
    "offsets": ((8, 24), (40, 24)),
    "a larger output": ((0, 24), (0, 48)),
    "an output that does not fit": ((0, 24), (0, 20)),
    "an output beyond the region": ((0, 24), (4096, 24)),
    "an output longer than the region": ((0, 24), (0, 5000)),
    "an input beyond the region": ((4096, 24), (0, 24)),
    "an input longer than the region": ((0, 5000), (0, 24)),
    "an input shorter than its shape": ((0, 20), (0, 24)),
    "an input longer than its shape": ((0, 28), (0, 24)),
}


def cases() -> Iterator[Case]:
    """Yields the cases. Each makes a segment, registers its regions, and removes them."""
    for kind in _MODULES:
        for datatype in (name for name in MODELS if name.isupper()):
            for from_memory, to_memory in product((True, False), (True, False)):
                if from_memory or to_memory:
                    places = (
                        f"{'memory' if from_memory else 'the request'} to {'memory' if to_memory else 'the response'}"
                    )
                    yield Case(f"{kind} memory {datatype}, {places}", _infer(kind, datatype, from_memory, to_memory))
        for about, (source, target) in _RANGES.items():
            yield Case(f"{kind} memory: {about}", _infer(kind, "FP32", True, True, source, target))
        for about, act in _REGISTRY.items():
            yield Case(f"{kind} memory: {about}", _registry(kind, act))


@contextmanager
def _segments(client: Any) -> Iterator[tuple[Any, Any]]:
    """Yields two segments, which are registered as ``in`` and ``out``."""
    made = []
    try:
        for name in ("in", "out"):
            made.append(triton_shm.create_shared_memory_region(name, f"/loopwright_{name}", _BYTES, create_only=True))
            client.register_system_shared_memory(name, f"/loopwright_{name}", _BYTES)
        yield made[0], made[1]
    finally:
        client.unregister_system_shared_memory()
        for each in made:
            triton_shm.destroy_shared_memory_region(each)


def _infer(
    kind: str,
    datatype: str,
    from_memory: bool,
    to_memory: bool,
    source: tuple[int, int] | None = None,
    target: tuple[int, int] | None = None,
) -> Callable[[Connections], Answer]:
    module: Any = _MODULES[kind]
    array = values(datatype)

    def send(connections: Connections) -> Answer:
        client = getattr(connections, kind)
        data = Input(array, datatype).raw
        with _segments(client) as (inputs, outputs):
            x = module.InferInput("x", list(array.shape), datatype)
            y = module.InferRequestedOutput("y")
            if from_memory:
                offset, size = source or (0, len(data))
                if offset + len(data) <= _BYTES:
                    triton_shm.set_shared_memory_region(inputs, [np.frombuffer(data, np.uint8)], offset)
                x.set_shared_memory("in", size, offset)
            else:
                x.set_data_from_numpy(array)
            if to_memory:
                offset, size = target or (0, len(data))
                y.set_shared_memory("out", size, offset)
            try:
                result = client.infer(datatype, [x], outputs=[y])
            except InferenceServerException as error:
                return answers.of_error(error)
            of = answers.of_http_result if kind == "http" else answers.of_grpc_result
            answer = of(result, [] if to_memory else ["y"])
            written = triton_shm.get_contents_as_numpy(outputs, np.uint8, [_BYTES]).tobytes()
            return Answer(dict(answer.fields) | {"memory": written.rstrip(b"\0").hex()})

    return send


def _registry(kind: str, act: Callable[[Any], Any]) -> Callable[[Connections], Answer]:
    def send(connections: Connections) -> Answer:
        client = getattr(connections, kind)
        with _segments(client):
            try:
                return Answer({"code": "ok", "answer": str(act(client))})
            except InferenceServerException as error:
                return answers.of_error(error)

    return send


def _key(name: str) -> str:
    return f"/loopwright_{name}"


def _then_status(act: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def both(client: Any) -> Any:
        act(client)
        return _status(client)

    return both


def _status(client: Any, region: str = "") -> Any:
    found = client.get_system_shared_memory_status(region)
    if isinstance(found, list):
        return sorted((one["name"], one["key"], one["offset"], one["byte_size"]) for one in found)
    return sorted((one.name, one.key, one.offset, one.byte_size) for one in found.regions.values())


_REGISTRY: dict[str, Callable[[Any], Any]] = {
    "the status": _status,
    "the status of a region": lambda client: _status(client, "in"),
    "the status of no region": lambda client: _status(client, "none"),
    "a region twice": lambda client: client.register_system_shared_memory("in", _key("in"), _BYTES),
    "a part of a segment": _then_status(
        lambda client: client.register_system_shared_memory("part", _key("in"), 64, 16)
    ),
    "a segment that is not there": lambda client: client.register_system_shared_memory("none", _key("none"), 64),
    "more than the segment": lambda client: client.register_system_shared_memory("more", _key("in"), 2 * _BYTES),
    "an offset beyond the segment": lambda client: client.register_system_shared_memory("more", _key("in"), 64, _BYTES),
    "unregister": _then_status(lambda client: client.unregister_system_shared_memory("in")),
    "unregister no region": _then_status(lambda client: client.unregister_system_shared_memory("none")),
    "unregister all": _then_status(lambda client: client.unregister_system_shared_memory()),
}
