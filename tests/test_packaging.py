"""pyproject.toml, constraints.txt, and the places that repeat a part of them, agree."""

from __future__ import annotations

import itertools
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports] - pytest requires it on Python 3.10

from compiler.installation.extras import EXTRAS
from kernels.installation import NAMES

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OPTIONAL = {
    extra: [Requirement(text) for text in texts] for extra, texts in PROJECT["project"]["optional-dependencies"].items()
}
REQUIREMENTS = [
    *map(Requirement, PROJECT["build-system"]["requires"]),
    *map(Requirement, PROJECT["project"]["dependencies"]),
    *(requirement for extra in OPTIONAL if extra != "all" for requirement in OPTIONAL[extra]),
    *map(Requirement, itertools.chain(*PROJECT["dependency-groups"].values())),
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


def test_the_extra_all_has_the_extras_of_users() -> None:
    (everything,) = OPTIONAL["all"]
    assert everything.name == PROJECT["project"]["name"]
    assert everything.extras == set(EXTRAS)


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_import_names_of_an_extra_are_those_of_its_distributions(extra: str) -> None:
    distributions = {canonicalize_name(requirement.name) for requirement in OPTIONAL[extra]}
    installed = packages_distributions()
    owners = [{canonicalize_name(name) for name in installed[name]} for name in EXTRAS[extra]]
    assert set().union(*owners) <= distributions
    assert len(owners) == len(distributions)


def test_the_checked_import_names_are_those_of_the_wheel() -> None:
    find = PROJECT["tool"]["setuptools"]["packages"]["find"]
    packages = setuptools.find_packages(str(ROOT), include=find["include"])
    assert {package for package in packages if "." not in package} == set(NAMES)


def test_the_two_libraries_check_import_names_alike() -> None:
    """Neither of the two imports the other, so each has a copy."""
    assert (ROOT / "kernels" / "installation.py").read_text() == (ROOT / "graph_passes" / "installation.py").read_text()
