"""Converts TFLite models to ONNX, in an environment with the converter alone.

tflite2onnx keeps the operators of these networks one to one and gives images with channels first, as exporters from
PyTorch do. tf2onnx would need all of TensorFlow. The environment pins the dependencies, which have no upper bounds.
"""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

from benchmarks.models.packages import MODELS as FOLDER

PACKAGES = ("tflite2onnx==0.4.1", "tflite==2.18.0", "onnx==1.17.0", "numpy==1.26.4", "protobuf==5.29.5")
ENVIRONMENT = FOLDER / "converters" / "tflite2onnx-0.4.1"
SUFFIX = ".tflite"
_CONVERT = "import sys, tflite2onnx; tflite2onnx.convert(sys.argv[1], sys.argv[2])"


def convert(file: Path, target: Path) -> None:
    """Writes the ONNX model of a TFLite file to ``target``, which appears complete or not at all.

    Raises:
        OSError: the environment cannot be made, or the converter fails; the message is its last line.
    """
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / ".installed").is_file():
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        _run([str(python), "-m", "pip", "-q", "--disable-pip-version-check", "install", *PACKAGES])
        (ENVIRONMENT / ".installed").touch()
    partial = target.with_suffix(".partial")
    try:
        _run([str(python), "-c", _CONVERT, str(file), str(partial)])
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise OSError(f"{Path(command[0]).name} {command[1]} fails: {lines[-1] if lines else 'no message'}")
