"""Where ``make models`` unpacks the packages that hold models; nothing in them is ever imported."""

from __future__ import annotations

from pathlib import Path

MODELS = Path(__file__).resolve().parents[2] / "build" / "models"


def missing(package: str) -> str | None:
    """Why the files of ``package`` ("name==version") cannot be read, or None.

    The folder that pip leaves beside a package names its version: an older one does not pass for it.
    """
    name, _, version = package.partition("==")
    if (MODELS / f"{name.replace('-', '_')}-{version}.dist-info").is_dir():
        return None
    return f"{package} is not in build/models: run `make models`"
