"""``compiler.installation.extras``; tests/test_wheel.py tests each command without the extras."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from compiler.installation import extras


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    """Sets the packages that are installed."""

    def installed(*names: str) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in names else None)

    return installed


def test_the_missing_packages_and_the_extra_are_named(installed) -> None:
    installed("torch", "xgboost")
    with pytest.raises(ModuleNotFoundError) as missing:
        extras.require("the search", "search")
    message = "the search needs gymnasium, sb3_contrib, stable_baselines3: pip install 'loopwright[search]'"
    assert str(missing.value) == message
    assert missing.value.name == "gymnasium"


def test_only_the_given_packages_are_needed(installed) -> None:
    installed("xgboost")
    extras.require("a strategy", "search", "xgboost")
    with pytest.raises(ModuleNotFoundError, match=r"^a strategy needs torch: pip install 'loopwright\[search\]'$"):
        extras.require("a strategy", "search", "torch", "xgboost")


def test_a_package_whose_import_is_blocked_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"^the report needs matplotlib: "):
        extras.require("the report", "plots")


def test_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    extras.require("the report", "plots")
    assert "matplotlib" not in sys.modules
