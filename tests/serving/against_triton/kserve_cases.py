"""What KServe's clients send. They run in another interpreter, so that their packages are not those of the project."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.serving.against_triton.answers import Answer
from tests.serving.against_triton.models import MODELS, values


def answers(python: Path, ports: Mapping[str, int]) -> dict[str, Answer]:
    """Returns the answers of a server by the names of the combinations.

    Raises:
        RuntimeError: the interpreter has no KServe, or its script fails.
    """
    script = Path(__file__).parent / "kserve_client.py"
    sent = {name: _as_json(name) for name in MODELS if name.isupper() and name != "BF16"}  # KServe has no bfloat16
    command = [str(python), str(script), str(ports["http"]), str(ports["grpc"])]
    done = subprocess.run(command, input=json.dumps(sent), capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{script.name} failed: {done.stderr.strip()[-500:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: Answer(fields, message) for name, (fields, message) in found.items()}


def _as_json(datatype: str) -> list[object]:
    array = values(datatype)
    return [[text.decode() for text in row] for row in array] if datatype == "BYTES" else array.tolist()
