"""The administration of a running server: uploads, promotion, roll-back."""

from __future__ import annotations

import hashlib
import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

PART = 16 << 20  # bytes of a file per request


@dataclass(frozen=True)
class Admin:
    """The admin port of a server.

    Attributes:
        host, port: where it listens.
        token: the first line of the server's token file.
    """

    host: str
    port: int
    token: str

    def call(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Sends a request and returns the JSON of its answer.

        Raises:
            ValueError: the server rejected it, with its reason.
            OSError: there is no server.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=600)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self.token}"})
            response = connection.getresponse()
            answer = response.read()
        except http.client.HTTPException as error:
            raise ValueError(f"{self.host}:{self.port} is not an admin port: {error}") from None
        finally:
            connection.close()
        try:
            found = json.loads(answer)
        except ValueError:
            raise ValueError(f"{self.host}:{self.port} is not an admin port: it answered {response.status}") from None
        if response.status != 200:
            raise ValueError(found.get("error", f"the server answered {response.status}"))
        return found

    def upload(self, model: str, version: int, source: Path) -> None:
        """Uploads a version: an ONNX file, a saved model, or a folder that is laid out as a version.

        Raises:
            ValueError: the server rejected it, or ``source`` is something else.
            OSError: a file cannot be read, or there is no server.
        """
        files = version_files(source)
        place = f"/v2/models/{quote(model, safe='')}/versions/{version}"
        digests = {}
        for path, file in files.items():
            digest, offset = hashlib.sha256(), 0
            with file.open("rb") as data:
                while (part := data.read(PART)) or offset == 0:
                    self.call("PUT", f"{place}/files/{quote(path)}?offset={offset}", part)
                    digest.update(part)
                    offset += len(part)
                    if not part:  # an empty file
                        break
            digests[path] = digest.hexdigest()
        self.call("POST", place, json.dumps({"files": digests}).encode())

    def promote(self, model: str, version: int, label: str = "stable", percent: float = 0) -> None:
        """Makes a label select a ready version, for a share of the requests that name none.

        Raises:
            ValueError, OSError: as :meth:`call`.
        """
        place = f"/v2/models/{quote(model, safe='')}/labels/{quote(label, safe='')}"
        self.call("POST", place, json.dumps({"version": version, "percent": percent}).encode())

    def roll_back(self, model: str, label: str = "stable") -> None:
        """Makes a label select the version before its last promotion.

        Raises:
            ValueError, OSError: as :meth:`call`.
        """
        self.call("POST", f"/v2/models/{quote(model, safe='')}/labels/{quote(label, safe='')}/rollback")


def version_files(source: Path) -> dict[str, Path]:
    """Returns the files of a version by their paths in its folder.

    Raises:
        ValueError: ``source`` is not a model.
    """
    if source.is_file() and source.suffix == ".onnx":
        return {"model.onnx": source}
    prefix = "model.lw/" if (source / "manifest.json").is_file() else ""
    if source.is_dir() and (prefix or (source / "model.lw").is_dir() or (source / "model.onnx").is_file()):
        found = sorted(path for path in source.rglob("*") if path.is_file())
        return {f"{prefix}{path.relative_to(source)}": path for path in found}
    raise ValueError(
        f"{source} is not an ONNX file (.onnx), a saved model (.lw) or a folder with one of these as model.*"
    )
