"""What the C++ files of the kernels include."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pytest

CPP = Path(__file__).resolve().parents[1] / "kernels" / "cpp"
PUBLIC = CPP / "include"
FILES = sorted(path for path in CPP.rglob("*") if path.suffix in {".h", ".cc"})
# Headers of one architecture, and the files that may include them.
INTRINSICS = re.compile(r"\w*(intrin|cpuid|neon)\.h")
ARCHITECTURE = ("core/cpu_instructions.h", "core/float_mode.cc", "machine/x86.cc", "microkernels/x86")


def quoted(path: Path) -> list[str]:
    return re.findall(r'^#include "(.+)"', path.read_text(encoding="utf-8"), re.MULTILINE)


def bracketed(path: Path) -> list[str]:
    return re.findall(r"^#include <(.+)>", path.read_text(encoding="utf-8"), re.MULTILINE)


def name(path: Path) -> str:
    return path.relative_to(CPP).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_included_files_exist(path: Path) -> None:
    for included in quoted(path):
        assert any((folder / included).is_file() for folder in (path.parent, CPP, PUBLIC)), included


@pytest.mark.parametrize("path", sorted(PUBLIC.rglob("*.h")), ids=name)
def test_public_headers_include_public_headers_only(path: Path) -> None:
    assert [included for included in quoted(path) if not (PUBLIC / included).is_file()] == []


def test_the_kernels_need_no_library_but_pybind11() -> None:
    libraries = {PurePosixPath(header).parts[0] for path in FILES for header in bracketed(path) if "/" in header}
    assert libraries <= {"linux", "pybind11", "sys"}


def test_intrinsics_are_in_the_files_of_an_architecture() -> None:
    including = {name(path) for path in FILES if any(INTRINSICS.fullmatch(header) for header in bracketed(path))}
    assert including
    assert [file for file in including if not file.startswith(ARCHITECTURE)] == []
