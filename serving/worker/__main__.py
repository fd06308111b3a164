"""The loop of a worker: loads a model, then runs it for each message of the server, until the server closes the socket.

Its arguments are the kind of the model, its file, the threads, what begins its lines in the log, and ``NAME=VALUE`` for
each parameter. Its files 3 to 5 are the socket, the memory of inputs and that of outputs.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from serving.worker.model import Model

# The module of each kind, whose load() takes the file.
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "python": "serving.worker.user",
        "sklearn": "serving.worker.sklearn",
        "xgboost": "serving.worker.xgboost",
        "lightgbm": "serving.worker.lightgbm",
    }
)
_SOCKET, _INPUTS, _OUTPUTS = 3, 4, 5
_LONGEST_MESSAGE = 128 << 10
_LONGEST_REASON = 2000


class _Log(io.TextIOBase):
    """Standard output and error: each line begins with the name of the model, as others do in the server's log."""

    def __init__(self, label: str, to: TextIO) -> None:
        self._label, self._to = label, to
        self._rest = ""  # a line that has not ended
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            self._to.write("".join(f"{self._label} {line}\n" for line in lines))
            self._to.flush()
        return len(text)

    def flush(self) -> None:
        with self._lock:
            if self._rest:
                self.write("\n")

    def fileno(self) -> int:
        return self._to.fileno()


def main(arguments: Sequence[str]) -> int:
    kind, path, threads, label, *parameters = arguments
    # The server ends this process, also when its whole group gets a signal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # the server's own output stays clean
    sys.stdout = sys.stderr = _Log(label, sys.stderr)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = threads
    server = socket.socket(fileno=_SOCKET)
    try:
        model = importlib.import_module(_KINDS[kind]).load(Path(path))
        model.load(Path(path).parent, int(threads), dict(text.split("=", 1) for text in parameters))
        inputs, outputs = _specs(model.inputs()), _specs(model.outputs())
    except Exception as error:  # noqa: BLE001 - the code of users raises what it likes
        _send(server, _failure(error))
        return 1
    _send(server, {"inputs": inputs, "outputs": outputs})
    _serve(server, model, inputs, outputs)
    model.close()
    return 0


def _serve(
    server: socket.socket,
    model: Model,
    inputs: Sequence[Mapping[str, Any]],
    outputs: Sequence[Mapping[str, Any]],
) -> None:
    from serving.worker.tensors import Memory, read, write

    given, returned = Memory(_INPUTS), Memory(_OUTPUTS)
    while message := server.recv(_LONGEST_MESSAGE):
        request = json.loads(message)
        try:
            arrays = read(given, request["inputs"])
            answers = model.run({spec["name"]: array for spec, array in zip(inputs, arrays, strict=True)})
            checked = [(spec["datatype"], _checked(spec, answers)) for spec in outputs]
            answer = json.dumps({"outputs": write(returned, checked), "serial": request["serial"]}).encode()
            if len(answer) > _LONGEST_MESSAGE:
                raise TypeError("the model returned too many outputs")
            del arrays, answers, checked  # their memory, before the next run
        except Exception as error:  # noqa: BLE001
            answer = json.dumps(_failure(error) | {"serial": request["serial"]}).encode()
        server.send(answer)


def _specs(specs: Sequence[Any]) -> list[dict[str, Any]]:
    from serving.worker.datatypes import DTYPES

    result = []
    for spec in specs:
        name, datatype, shape = spec
        if datatype not in (*DTYPES, "BYTES"):
            raise ValueError(f"there is no data type {datatype!r}; choose from: {', '.join((*DTYPES, 'BYTES'))}")
        result.append({"name": str(name), "datatype": datatype, "shape": [int(size) for size in shape]})
    return result


def _checked(spec: Mapping[str, Any], answers: Mapping[str, Any]) -> Any:
    """Returns an output as an array of its type.

    Raises:
        TypeError: the model returned something else.
    """
    import numpy as np

    from serving.worker.datatypes import DTYPES

    name, datatype = spec["name"], spec["datatype"]
    if name not in answers:
        raise TypeError(f"the model returned no output {name}")
    if datatype == "BYTES":
        return np.asarray(answers[name], object)
    array = np.asarray(answers[name])
    if array.dtype != DTYPES[datatype]:
        raise TypeError(f"output {name} must be of {datatype}, got {array.dtype}")
    return array


def _failure(error: Exception) -> dict[str, Any]:
    is_invalid = isinstance(error, ValueError)
    if not is_invalid:
        traceback.print_exc()
    reason = " ".join(f"{error}".split()) or type(error).__name__
    if not is_invalid:
        reason = f"{type(error).__name__}: {reason}"
    return {"error": reason[:_LONGEST_REASON], "is_invalid": is_invalid}


def _send(server: socket.socket, message: Mapping[str, Any]) -> None:
    server.send(json.dumps(message).encode())


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except BaseException:  # noqa: BLE001 - also an exit that the model's code demands
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    os._exit(code)  # threads that the model started do not keep the process
