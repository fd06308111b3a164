"""Changed manifests of saved models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compiler.program.saved_model import MANIFEST


def write_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the manifest and updates its digest."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    manifest.pop("digest")
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    manifest["digest"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))
