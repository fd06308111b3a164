"""Delays Ctrl-C until the program can stop cleanly."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class HeldInterrupt:
    """Whether Ctrl-C was pressed. :meth:`raise_if_pressed` acts on it."""

    pressed = False

    def raise_if_pressed(self) -> None:
        """Raises KeyboardInterrupt if Ctrl-C was pressed.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        if self.pressed:
            raise KeyboardInterrupt


@contextmanager
def held_interrupt() -> Iterator[HeldInterrupt]:
    """Holds the first Ctrl-C back. A second one raises KeyboardInterrupt at once.

    Python raises KeyboardInterrupt at any point, which may be a callback of native code. xgboost and others then print
    it and continue, or report another error. So a search checks for it between two trials.
    """
    held = HeldInterrupt()

    def hold(*_: object) -> None:
        held.pressed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("Stopping after this trial; Ctrl-C again stops at once.", file=sys.stderr)

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield held
    finally:
        signal.signal(signal.SIGINT, before)
