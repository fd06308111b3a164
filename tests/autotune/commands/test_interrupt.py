from __future__ import annotations

import os
import signal

import pytest

from autotune.commands.interrupt import held_interrupt


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_is_held_until_it_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    with held_interrupt() as interrupt:
        interrupt.raise_if_pressed()
        press()
        with pytest.raises(KeyboardInterrupt):
            interrupt.raise_if_pressed()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_second_is_raised_at_once() -> None:
    with held_interrupt():
        press()
        with pytest.raises(KeyboardInterrupt):
            press()


def test_the_handler_is_restored() -> None:
    before = signal.getsignal(signal.SIGINT)
    with held_interrupt():
        assert signal.getsignal(signal.SIGINT) is not before
        press()
    assert signal.getsignal(signal.SIGINT) is before
