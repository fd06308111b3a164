"""The administration of a running server: uploads, promotion, roll-back."""

from __future__ import annotations

import hashlib
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from serving.client import Message, call, place

SOURCES = (
    "an ONNX file (.onnx), a saved model (.lw), a folder that is laid out as a version (with model.onnx, model.py, "
    "...), or a model of scikit-learn (.skops), XGBoost (.ubj, .json) or LightGBM (.txt)"
)
PART = 16 << 20  # bytes of a file per request
_LOAD_SECS = 3600


@dataclass(frozen=True)
class Admin:
    """The admin port of a server.

    Attributes:
        host, port: where it listens.
        token: the first line of the server's token file.
        tls: what :func:`serving.client.trust` returns; None: without TLS.
    """

    host: str
    port: int
    token: str
    tls: ssl.SSLContext | None = None

    def call(self, method: str, path: str, body: bytes = b"") -> Any:
        """Sends a request and returns the JSON of its answer. A load may take minutes.

        Raises:
            ValueError, RuntimeError, OSError: as :func:`serving.client.call`.
        """
        sent = Message(body, {"Authorization": f"Bearer {self.token}"})
        answer = call(self.host, self.port, method, path, sent, _LOAD_SECS, self.tls).body
        try:
            return json.loads(answer)
        except ValueError:
            raise ValueError(f"{self.host}:{self.port} is not an admin port") from None

    def upload(self, model: str, version: int, source: Path) -> str:
        """Uploads a version: an ONNX file, a saved model, or a folder that is laid out as a version.

        Returns:
            Empty if the server serves the version; else why neither its configuration nor a label selects it.

        Raises:
            ValueError: the server rejected it, or ``source`` is something else.
            RuntimeError: it was uploaded, and cannot be loaded.
            OSError: a file cannot be read, or there is no server.
        """
        files = version_files(source)
        path = place(model, str(version))
        digests = {}
        for name, file in files.items():
            digest, offset = hashlib.sha256(), 0
            with file.open("rb") as data:
                while (part := data.read(PART)) or offset == 0:
                    self.call("PUT", f"{path}/files/{quote(name)}?offset={offset}", part)
                    digest.update(part)
                    offset += len(part)
                    if not part:  # an empty file
                        break
            digests[name] = digest.hexdigest()
        answer = self.call("POST", path, json.dumps({"files": digests}).encode())
        state, reason = answer.get("state"), str(answer.get("reason", ""))
        if answer.get("failed") or state not in ("READY", "UNAVAILABLE"):  # such as LOADING: the server stops
            raise RuntimeError(
                f"uploaded, but version {version} of {model} is not served: {reason or 'its load did not end'}; "
                "correct config.toml on the server, which tries again, or remove the version's folder there, "
                "or upload another version"
            )
        return "" if state == "READY" else reason

    def promote(self, model: str, version: int, label: str = "stable", percent: float = 0) -> None:
        """Makes a label select a ready version, for a share of the requests that name none.

        Raises:
            ValueError, OSError: as :meth:`call`.
        """
        path = f"{place(model)}/labels/{quote(label, safe='')}"
        self.call("POST", path, json.dumps({"version": version, "percent": percent}).encode())

    def roll_back(self, model: str, label: str = "stable") -> int:
        """Makes a label select the version before its last promotion, and returns that version.

        Raises:
            ValueError, OSError: as :meth:`call`.
        """
        answer = self.call("POST", f"{place(model)}/labels/{quote(label, safe='')}/rollback")
        return int(answer["labels"][label]["version"])


def version_files(source: Path) -> dict[str, Path]:
    """Returns the files of a version by their paths in its folder.

    Raises:
        ValueError: ``source`` is not a model, or does not exist.
    """
    if not source.exists():
        raise ValueError(f"no such file: {source}")
    if source.is_file() and source.suffix == ".onnx":
        return {"model.onnx": source}
    prefix = "model.lw/" if (source / "manifest.json").is_file() else ""
    if source.is_dir() and (prefix or any(source.glob("model.*"))):
        found = sorted(path for path in source.rglob("*") if path.is_file())
        return {f"{prefix}{path.relative_to(source)}": path for path in found}
    raise ValueError(f"{source} is not {SOURCES}")
