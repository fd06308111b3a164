"""``kernels.installation``; tests/test_wheel.py installs another distribution next to this project's."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernels.installation import NAMES, check_names


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["{}-1.0.dist-info", "{}-1.0-py3.11.egg-info", "{}.egg-info"])
def test_a_distribution_with_an_import_name_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, kind: str
) -> None:
    folder = tmp_path / kind.format(name)
    folder.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError) as error:
        check_names("compiler")
    assert str(error.value).startswith(
        f"another distribution takes the import name {name} of loopwright: {folder}; use separate environments, "
    )
    assert error.value.name == "compiler"


def test_other_distributions_are_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("kernels_more-1.0.dist-info", "mkl_kernels-1.0.dist-info", "kernels-1.0.txt", "kernels"):
        (tmp_path / name).mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path / "missing.zip"))
    check_names("compiler")
