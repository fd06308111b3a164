"""``compiler.measure.energy`` on a written tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.measure import energy


def domain(root: Path, folder: str, name: str, value: int, wraps: int) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    for file, text in (("name", name), ("energy_uj", str(value)), ("max_energy_range_uj", str(wraps))):
        (path / file).write_text(text + "\n")
    return path / "energy_uj"


def test_packages_count_once_and_a_counter_may_wrap(tmp_path: Path) -> None:
    first = domain(tmp_path, "intel-rapl:0", "package-0", 900_000, 999_999)
    domain(tmp_path, "intel-rapl:0:0", "core", 5, 999_999)
    second = domain(tmp_path, "intel-rapl:1", "package-1", 100, 4_999_999)
    found = energy.counters(tmp_path)
    before = found.read()
    assert before == (900_000, 100)
    first.write_text("100000\n")  # 200 000 further, beyond the range
    second.write_text("3000100\n")
    assert found.joules(before, found.read()) == pytest.approx(3.2)


def test_the_reason_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(energy.EnergyUnavailable, match=r"^this system has no energy counters in "):
        energy.counters(tmp_path)
    domain(tmp_path, "intel-rapl:0", "package-0", 1, 10).write_text("")
    with pytest.raises(energy.EnergyUnavailable, match=r"^\S+intel-rapl:0 has no readable counter$"):
        energy.counters(tmp_path)


def test_a_counter_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 1, 10)
    read = Path.read_text

    def denied(path: Path) -> str:
        if path == counter:
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_text", denied)
    with pytest.raises(energy.EnergyUnavailable, match=r"^no permission to read "):
        energy.counters(tmp_path)
