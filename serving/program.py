"""The server program, which ``make serving`` builds."""

from __future__ import annotations

import os
from pathlib import Path

PROGRAM = "loopwright-server"
_BUILT = Path(__file__).resolve().parent.parent / "build" / "serving" / PROGRAM


def server_program() -> Path:
    """Returns the file of the program: that of ``LOOPWRIGHT_SERVER``, or the one that was built in this checkout.

    Raises:
        RuntimeError: it was not built.
    """
    chosen = os.environ.get("LOOPWRIGHT_SERVER")
    path = Path(chosen) if chosen else _BUILT
    if not path.is_file():
        where = "LOOPWRIGHT_SERVER names no file" if chosen else f"{_BUILT} does not exist"
        raise RuntimeError(f"the server is not built ({where}): run `make serving` in a checkout")
    return path
