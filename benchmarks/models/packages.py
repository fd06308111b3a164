"""The folder into which ``make models`` unpacks packages of models. Their code is never imported."""

from __future__ import annotations

from pathlib import Path

MODELS = Path(__file__).resolve().parents[2] / "build" / "models"


def missing(package: str) -> str | None:
    """Returns why the files of ``package`` ("name==version") are missing, or None.

    The dist-info folder next to a package has its version, so other versions do not count.
    """
    name, _, version = package.partition("==")
    if (MODELS / f"{name.replace('-', '_')}-{version}.dist-info").is_dir():
        return None
    return f"{package} is not in build/models: run `make models`"
