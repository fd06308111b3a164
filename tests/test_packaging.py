"""The bounds in pyproject.toml and the pins in constraints.txt agree."""

from __future__ import annotations

import itertools
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports] - pytest requires it on Python 3.10

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REQUIREMENTS = [
    Requirement(text)
    for text in itertools.chain(
        PROJECT["build-system"]["requires"],
        PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"].values(),
        *PROJECT["dependency-groups"].values(),
    )
]
PINS = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]


def pinned(name: str, python: str) -> str | None:
    """Returns the version that constraints.txt pins for a Python version on this platform."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    versions = [
        str(pin.specifier).removeprefix("==")
        for pin in PINS
        if canonicalize_name(pin.name) == canonicalize_name(name)
        and (pin.marker is None or pin.marker.evaluate(environment))
    ]
    assert len(versions) <= 1, f"{name} is pinned twice for Python {python}"
    return versions[0] if versions else None


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_every_requirement_is_pinned_within_its_bounds(requirement: Requirement, python: str) -> None:
    pin = pinned(requirement.name, python)
    assert pin is not None
    assert requirement.specifier.contains(pin)


def test_every_pin_is_exact() -> None:
    assert all(len(pin.specifier) == 1 and str(pin.specifier).startswith("==") for pin in PINS)


def test_builds_in_and_outside_of_isolation_use_the_same_tools() -> None:
    group = {Requirement(text).name: text for text in PROJECT["dependency-groups"]["build"]}
    assert all(group[Requirement(text).name] == text for text in PROJECT["build-system"]["requires"])


@pytest.mark.parametrize("name", ["apache-tvm", "apache-tvm-ffi"])
def test_the_tvm_pair_is_exact(name: str) -> None:
    assert {str(r.specifier) for r in REQUIREMENTS if r.name == name} == {f"=={version(name)}"}
