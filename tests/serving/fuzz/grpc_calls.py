"""Mutated messages and streams of gRPC."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping, Sequence
from typing import Any

from tests.serving.fuzz.mutations import altered, mutated
from tests.serving.fuzz.totals import WAIT_SECS, Totals

_SERVICE = "/inference.GRPCInferenceService/"
_STREAM = 5  # requests
Valid = Mapping[str, Sequence[bytes]]


def messages(segment: str) -> Valid:
    """Returns valid messages by the name of their call.

    Args:
        segment: the name of a segment of shared memory with 4096 bytes.
    """
    service_pb2 = _protocol()
    tensor = service_pb2.ModelInferRequest.InferInputTensor

    def infer(name: str, *inputs: Any, **more: Any) -> bytes:
        return service_pb2.ModelInferRequest(model_name=name, inputs=inputs, **more).SerializeToString()

    x = tensor(name="x", datatype="FP32", shape=[1, 4])
    typed = tensor(name="x", datatype="FP32", shape=[1, 4])
    typed.contents.fp32_contents.extend([1, 2, 3, 4])
    texts = tensor(name="n", datatype="BYTES", shape=[2, 1])
    texts.contents.bytes_contents.extend([b"one", b""])
    words = tensor(name="text", datatype="BYTES", shape=[1])
    words.contents.bytes_contents.append(b"one two")
    request = service_pb2.ModelInferRequest(model_name="affine", model_version="1", id="7", inputs=[x])
    request.raw_input_contents.append(bytes(range(16)))
    request.outputs.add(name="y")
    request.parameters["priority"].int64_param = 2
    request.parameters["timeout"].int64_param = 60_000_000
    classes = service_pb2.ModelInferRequest(model_name="steps", inputs=[typed])
    classes.outputs.add(name="y").parameters["classification"].int64_param = 2
    shared = service_pb2.ModelInferRequest(model_name="affine", inputs=[x])
    for part in (shared.inputs[0], shared.outputs.add(name="y")):
        part.parameters["shared_memory_region"].string_param = "g"
        part.parameters["shared_memory_byte_size"].int64_param = 16
        part.parameters["shared_memory_offset"].int64_param = 32
    named = service_pb2.ModelMetadataRequest(name="affine", version="1").SerializeToString()
    region = service_pb2.SystemSharedMemoryRegisterRequest(name="g", key=f"/{segment}", offset=0, byte_size=2048)
    return {
        "ModelInfer": [
            infer("affine", x, raw_input_contents=[bytes(range(16))]),
            infer("affine", typed),
            infer("texts", texts),
            infer("words", words),
            infer("steps", typed),
            request.SerializeToString(),
            classes.SerializeToString(),
            shared.SerializeToString(),
        ],
        "ModelMetadata": [named],
        "ModelReady": [named],
        "ModelStatistics": [named],
        "RepositoryIndex": [service_pb2.RepositoryIndexRequest(ready=True).SerializeToString()],
        "SystemSharedMemoryRegister": [region.SerializeToString()],
        "SystemSharedMemoryStatus": [service_pb2.SystemSharedMemoryStatusRequest(name="g").SerializeToString()],
        "SystemSharedMemoryUnregister": [service_pb2.SystemSharedMemoryUnregisterRequest(name="g").SerializeToString()],
    }


def _protocol() -> Any:
    from tritonclient.grpc import service_pb2

    return service_pb2


def call_once(channel: Any, valid: Valid) -> None:
    """Makes a valid call."""
    channel.unary_unary(_SERVICE + "ModelInfer")(valid["ModelInfer"][0], timeout=WAIT_SECS)


def _mutated(name: str, valid: Valid, rng: random.Random) -> bytes:
    others = [message for each in valid.values() for message in each]
    message = rng.choice(valid[name])
    kind = rng.randrange(12)
    if kind == 0:  # as it is, so that there are regions and outputs in shared memory
        return message
    return _altered(name, message, rng) if kind < 6 else mutated(message, others, rng)


def calls(channel: Any, valid: Valid, count: int, rng: random.Random, totals: Totals) -> None:
    """Sends mutated messages, many at a time. Each must have its answer."""
    begun = []
    for _ in range(count):
        name = rng.choice(["ModelInfer"] * 8 + list(valid))
        message = _mutated(name, valid, rng)
        begun.append((name, message, channel.unary_unary(_SERVICE + name).future(message, timeout=WAIT_SECS)))
    totals.sent["gRPC, messages"] += count
    for name, message, call in begun:
        _check(call, name, [message], totals)


def streams(channel: Any, valid: Valid, count: int, rng: random.Random, totals: Totals) -> None:
    """Sends mutated messages in streams. Each has an answer, or the stream ends with an error."""
    for _ in range(count // _STREAM):
        sent = [_mutated("ModelInfer", valid, rng) for _ in range(_STREAM)]
        totals.sent["gRPC, streams"] += len(sent)
        stream = channel.stream_stream(_SERVICE + "ModelStreamInfer")(iter(sent), timeout=WAIT_SECS)
        answers = 0
        with contextlib.suppress(_rpc_error()):
            for _ in stream:
                answers += 1
        _check(stream, "ModelInfer", sent, totals)
        if stream.code().name == "OK" and answers != len(sent):
            totals.find(f"{answers} answers of a stream", b" ".join(sent))


def _rpc_error() -> type[Exception]:
    import grpc

    return grpc.RpcError


def _check(call: Any, name: str, sent: Sequence[bytes], totals: Totals) -> None:
    """Checks the end of a call or a stream."""
    import grpc

    codes, code = grpc.StatusCode, call.code()
    totals.answers[f"gRPC {code.name}"] += 1
    no_message = (codes.INTERNAL, "Unable to parse request")  # gRPC's answer
    no_message_of_stream = (codes.INVALID_ARGUMENT, "a message of the stream is not a ModelInferRequest")
    if (code, call.details()) in (no_message, no_message_of_stream):
        if all(_is_message(name, message) for message in sent):
            totals.find(f"{name}: taken for no message", b" ".join(sent))
    elif code == codes.DEADLINE_EXCEEDED and any(b"timeout" in message for message in sent):
        pass
    elif code in (codes.INTERNAL, codes.UNKNOWN, codes.UNAVAILABLE, codes.DEADLINE_EXCEEDED, codes.CANCELLED):
        totals.find(f"{name}: {code.name} ({call.details()})", b" ".join(sent))


def _altered(name: str, data: bytes, rng: random.Random) -> bytes:
    """Returns a message with another value in a field. Values that its type does not take are drawn again."""
    from google.protobuf import json_format

    kind = getattr(_protocol(), f"{name}Request")
    value = json_format.MessageToDict(kind.FromString(data), preserving_proto_field_name=True)
    for _ in range(20):
        with contextlib.suppress(json_format.ParseError, ValueError, TypeError, AttributeError):
            return json_format.ParseDict(altered(value, rng), kind()).SerializeToString()
    return data


def _is_message(name: str, data: bytes) -> bool:
    from google.protobuf.message import DecodeError

    try:
        message = getattr(_protocol(), f"{name}Request").FromString(data)
    except DecodeError:
        return False
    length = message.ByteSize()
    message.DiscardUnknownFields()  # parsers differ in what they take for one
    return message.ByteSize() == length
