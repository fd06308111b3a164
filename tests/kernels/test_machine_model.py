"""Machine models: their text, what completes them, and which one is that of this CPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import MachineModel, _native, available_dtypes, register_tiles, tile_k
from kernels.machine_model import LEVELS
from tests.kernels.machine_models import LANES, VECTOR_ISAS, edited, with_lines

TEXT = MachineModel.interpolated(2).text
LINES = TEXT.splitlines()
FIVE = "loopwright machine model,1\ncpu,Some-1-2\nsource,measured\ncores,2\nghz,4.25\ncaches,32768,1048576,0\n"
KERNELS = [(isa, dtype) for isa in VECTOR_ISAS for dtype in available_dtypes(isa)]


def parsed_or_rejected(text: str) -> MachineModel | None:
    """Returns the model. Another text must raise a ValueError of one short line."""
    try:
        return MachineModel.parse(text)
    except ValueError as error:
        message = str(error)
    assert message.isprintable()
    assert 0 < len(message) < 400
    return None


@pytest.mark.parametrize("cores", [1, 2, 3, 64, 4096])
def test_a_text_is_parsed_into_an_equal_model(cores: int) -> None:
    model = MachineModel.interpolated(cores)
    parsed = MachineModel.parse(model.text)
    assert parsed == model
    assert hash(parsed) == hash(model)
    assert parsed.text == model.text
    assert (parsed.id, parsed.cpu, parsed.cores, parsed.ghz) == (model.id, _native.cpu_key(), cores, model.ghz)
    assert not parsed.measured
    for threads in (1, cores, 2 * cores if cores < 512 else 1024):
        if threads <= 1024:
            assert parsed.fork_join_secs(threads) == model.fork_join_secs(threads)
            assert [parsed.bandwidth_gbs(level, threads) for level in range(4)] == [
                model.bandwidth_gbs(level, threads) for level in range(4)
            ]
    for isa, dtype in KERNELS:
        for rows, columns in register_tiles(isa, dtype):
            assert parsed.tile_cycles(isa, dtype, rows, columns, 100.0) == model.tile_cycles(
                isa, dtype, rows, columns, 100.0
            )


def test_numbers_keep_their_digits() -> None:
    """Models with different costs have different texts, even if they differ in the last digit."""
    one, other = (with_lines({"ghz": ghz}) for ghz in ("3.1", "3.1000000000000001e0"))
    assert one == other
    assert with_lines({"ghz": "3.1000000000000005"}) != one
    assert MachineModel.parse(with_lines({"ghz": "3.1000000000000005"}).text).ghz == 3.1000000000000005


def test_the_locale_does_not_change_the_text() -> None:
    """C++ programs may set a locale whose numbers have a decimal comma."""
    script = """
import locale, sys
from kernels import MachineModel
for name in ("de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "es_ES.UTF-8"):
    try:
        locale.setlocale(locale.LC_ALL, name)
    except locale.Error:
        continue
    text = MachineModel.interpolated(2).text
    assert MachineModel.parse(text).text == text
    sys.stdout.write(text)
    break
"""
    text = run(script)
    if not text:
        pytest.skip("this system has no locale with a decimal comma")
    assert text == TEXT


@pytest.mark.parametrize("cores", [1, 2, 64])
def test_interpolated_models_are_complete(cores: int) -> None:
    model = MachineModel.interpolated(cores)
    assert model.cores == cores
    for threads in (1, 2, cores, 1000):
        for level in range(len(LEVELS)):
            assert 0 < model.bandwidth_gbs(level, threads) < 1e9
        assert (model.fork_join_secs(threads) > 0) == (model.barrier_secs(threads) > 0) == (threads > 1)
    for isa, dtype in KERNELS:
        for rows, columns in register_tiles(isa, dtype):
            for narrower in (0, _native.lanes(isa, dtype) // 2):
                cycles = [
                    model.tile_cycles(isa, dtype, rows, columns - narrower, 64, level) for level in range(len(LEVELS))
                ]
                assert 0 < cycles[0] < 1e6
                assert cycles == sorted(cycles), "weights from further away take no less time"
                assert model.tile_cycles(isa, dtype, rows, columns - narrower, 128) > cycles[1]
    assert {line.split(",")[0] for line in model.text.splitlines()} >= {"winograd", "strassen_sum", "cell", "call"} or (
        not KERNELS
    )


@pytest.mark.parametrize("cores", [0, -1, 4097, 1 << 40])
def test_wrong_numbers_of_cores_are_rejected(cores: int) -> None:
    with pytest.raises((ValueError, TypeError)):
        MachineModel.interpolated(cores)


def test_what_the_threads_that_were_not_measured_take() -> None:
    model = MachineModel.parse(
        FIVE + "bandwidth,l1,64,128\nbandwidth,l2,32,60\nbandwidth,l3,16,20\nbandwidth,memory,8,10\n"
        "fork_join,0,850\nbarrier,0,425\n"
    )
    assert model.measured
    assert [model.bandwidth_gbs(level, 1) for level in range(4)] == pytest.approx([272, 136, 68, 34])
    assert [model.bandwidth_gbs(level, 2) for level in range(4)] == pytest.approx([544, 255, 85, 42.5])
    # Each core has an L1 and an L2, and all of them share the rest.
    assert [model.bandwidth_gbs(level, 8) for level in range(4)] == pytest.approx([2176, 1020, 85, 42.5])
    assert [model.fork_join_secs(n) for n in (1, 2, 4)] == pytest.approx([0, 2e-7, 4e-7])
    assert [model.barrier_secs(n) for n in (1, 2, 6)] == pytest.approx([0, 1e-7, 3e-7])
    for threads in (0, -1, 1025):
        for attempt in (model.fork_join_secs, model.barrier_secs, lambda n: model.bandwidth_gbs(0, n)):
            with pytest.raises(ValueError, match="threads must be between 1 and"):
                attempt(threads)
    for level in (-1, 4):
        with pytest.raises(ValueError, match="level must be"):
            model.bandwidth_gbs(level)


def test_threads_on_one_core_are_not_free() -> None:
    model = MachineModel.interpolated(1)
    assert model.fork_join_secs(1) == model.barrier_secs(1) == 0
    assert model.fork_join_secs(4) > model.fork_join_secs(2) > 1e-6
    assert model.barrier_secs(2) > 1e-6


def test_what_a_text_lacks_is_interpolated() -> None:
    partial, whole = MachineModel.parse(FIVE), MachineModel.interpolated(2)
    costs = [line for line in partial.text.splitlines() if line.split(",")[0] not in ("cpu", "source", "ghz", "caches")]
    assert costs == [line for line in LINES if line.split(",")[0] not in ("cpu", "source", "ghz", "caches")]
    for isa, dtype in KERNELS:
        (rows, columns), *others = register_tiles(isa, dtype)
        halves = 2 * columns // _native.lanes(isa, dtype)
        one = MachineModel.parse(f"{FIVE}kernels,{isa},{dtype},prefetch,64\ntile,{rows},{halves},10,1,2,3,4\n")
        words = 100 / tile_k(isa, dtype)
        assert [one.tile_cycles(isa, dtype, rows, columns, 100, level) for level in range(4)] == [
            10 + words * step for step in (1, 2, 3, 4)
        ]
        for other in others:
            assert one.tile_cycles(isa, dtype, *other, 100) == whole.tile_cycles(isa, dtype, *other, 100)
        for name in ("winograd", "strassen_sum", "cell"):
            assert zeros(one, name) == zeros(whole, name)


def zeros(model: MachineModel, name: str) -> int:
    """Returns the number of costs of 0 in lines of a name."""
    lines = [line.split(",") for line in model.text.splitlines() if line.startswith(name + ",")]
    return sum(float(field) == 0 for line in lines for field in line[2 if name == "winograd" else 1 :])


def test_any_other_cost_makes_another_model() -> None:
    """Each number of each line is part of the text, the digest and the hash."""
    model = MachineModel.interpolated(2)
    seen = {model.id}
    for i, line in enumerate(LINES[2:], 2):
        fields = line.split(",")
        numbers = range(3 if fields[0] == "tile" else 4 if fields[0] == "kernels" else 1, len(fields))
        if fields[0] == "tile" and i % 7:  # some of the tiles
            continue
        for j in numbers:
            if fields[0] == "cores" or not fields[j].replace(".", "").isdigit() or (fields[0], j) == ("winograd", 1):
                continue
            other = [*fields[:j], str(int(float(fields[j])) + 3), *fields[j + 1 :]]
            changed = MachineModel.parse("\n".join([*LINES[:i], ",".join(other), *LINES[i + 1 :]]))
            assert changed != model, line
            seen.add(changed.id)
            assert len({hash(changed), hash(model)}) == 2
    assert len(seen) > 20
    assert all(" " not in name and name.startswith(f"{_native.cpu_key()}-2-interpolated-") for name in seen)
    assert model != "a text"
    assert repr(model) == f"MachineModel({model.id})"


WRONG = {
    "": "the first line must be 'loopwright machine model,1'",
    "loopwright machine model,2\n": "the first line must be",
    "loopwright machine model,1\n": "there is no line 'cpu'",
    FIVE.replace("cores,2\n", ""): "there is no line 'cores'",
    FIVE.replace("ghz,4.25\n", ""): "there is no line 'ghz'",
    FIVE.replace("caches,32768,1048576,0\n", ""): "there is no line 'caches'",
    FIVE.replace("source,measured\n", ""): "there is no line 'source'",
    FIVE.replace("measured", "guessed"): "line 3, 'source,guessed': the source must be 'measured' or 'interpolated'",
    FIVE.replace("Some-1-2", "Some 1,2"): "line 2, 'cpu,Some 1,2': it must have 1 fields",
    FIVE.replace("Some-1-2", "../a/b"): "the name of a CPU has up to 64 letters",
    FIVE.replace("Some-1-2", "A" * 65): "the name of a CPU has up to 64 letters",
    FIVE.replace("cores,2", "cores,0"): "'0' is not a number from 1 to 4096",
    FIVE.replace("cores,2", "cores,1.5"): "'1.5' is not an integer",
    FIVE.replace("cores,2", "cores,5000"): "'5000' is not a number",
    FIVE.replace("cores,2", "cores,0x2"): "'0x2' is not a number",
    FIVE.replace("4.25", "nan"): "'nan' is not a number from 0.01 to 100",
    FIVE.replace("4.25", "inf"): "'inf' is not a number",
    FIVE.replace("4.25", "1e999"): "'1e999' is not a number",
    FIVE.replace("4.25", "-4.25"): "'-4.25' is not a number",
    FIVE.replace("4.25", "4,25"): "it must have 1 fields",
    FIVE.replace("4.25", " 4.25"): "' 4.25' is not a number",
    FIVE.replace("4.25", ""): "'' is not a number",
    FIVE.replace("4.25", "4.25 GHz"): "'4.25 GHz' is not a number",
    FIVE.replace(",0\n", "\n"): "it must have 3 fields",
    FIVE.replace("32768", "0"): "'0' is not a number from 1024",
    FIVE + "bandwidth\n": "it must name a level",
    FIVE + "bandwidth,l4,1,2\n": "'l4' is not l1, l2, l3 or memory",
    FIVE + "bandwidth,l1\n": "it must have one number per core",
    FIVE + "bandwidth,l1,1,0\n": "'0' is not a number from 0.001",
    FIVE + "bandwidth,l1,1,2,3\n": "a line 'bandwidth' has 3 numbers, for 2 cores",
    FIVE + "fork_join,0\n": "a line 'fork_join' has 1 numbers, for 2 cores",
    FIVE + "barrier,0,1,2\n": "a line 'barrier' has 3 numbers, for 2 cores",
    FIVE + "tile,1,1,1,1,1,1,1\n": "a line 'kernels' must precede it",
    FIVE + "winograd,0,1,1,1,1\n": "a line 'kernels' must precede it",
    FIVE + "kernels,sse9,float32,prefetch,0\n": "'sse9,float32' is not an ISA and a dtype",
    FIVE + "kernels,avx2,float8,prefetch,0\n": "'avx2,float8' is not an ISA and a dtype",
    FIVE + "kernels,avx2,float32,distance,0\n": "'distance' must be 'prefetch'",
    FIVE + "kernels,avx2,float32,prefetch,-1\n": "'-1' is not a number from 0",
    FIVE + 2 * "kernels,avx2,float32,prefetch,0\n": "these kernels are listed twice",
    FIVE + "kernels,avx2,float32,prefetch,0\ntile,0,1,1,1,1,1,1\n": "'0' is not a number from 1 to 28",
    FIVE + "kernels,avx2,float32,prefetch,0\ntile,29,1,1,1,1,1,1\n": "'29' is not a number from 1 to 28",
    FIVE + "kernels,avx2,float32,prefetch,0\ntile,1,17,1,1,1,1,1\n": "'17' is not a number from 1 to 16",
    FIVE + "kernels,avx2,float32,prefetch,0\ntile,1,1,1,0,1,1,1\n": "'0' is not a number from 1e-06",
    FIVE + "kernels,avx2,float32,prefetch,0\ntile,1,1,1,1,1,1\n": "it must have 7 fields",
    FIVE + "kernels,avx2,float32,prefetch,0\nwinograd,3,1,1,1,1\n": "'3' is not a number from 0 to 2",
    FIVE + "speed,1\n": "line 7, 'speed,1': a line must begin with cpu",
    FIVE + "\x00\x1b[31m\u00e4" + "x" * 1000 + "\n": "line 7, '",
    "loopwright machine model,1\n" + "\n" * (4 << 20): "it has more than 4 MiB",
}


@pytest.mark.parametrize(("text", "message"), list(WRONG.items()), ids=range(len(WRONG)))
def test_other_texts_are_rejected_with_the_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        MachineModel.parse(text)
    assert parsed_or_rejected(text) is None


def test_a_large_text_is_parsed_or_rejected_in_a_short_time() -> None:
    numbers = ",".join(["1"] * 4096)
    start = time.monotonic()
    text = FIVE.replace("cores,2", "cores,4096") + 125 * f"barrier,{numbers}\n"
    assert parsed_or_rejected(text) is not None
    assert parsed_or_rejected("loopwright machine model,1\n" + "," * (1 << 20)) is None
    assert parsed_or_rejected("loopwright machine model,1\n" + (1 << 19) * "x\n") is None
    assert time.monotonic() - start < 100  # not quadratic


FIELDS = st.one_of(
    st.sampled_from(["", "0", "-1", "1e12", "1e13", "1e-300", "nan", "inf", "28", "29", "16", "17", "4096", "4097"]),
    st.floats().map(str),
    st.integers().map(str),
    st.text(max_size=8),
)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damaged_texts_are_parsed_or_rejected(data: st.DataObject) -> None:
    """Lines are removed, repeated and moved, and fields are changed, added and removed. What is parsed can be used."""
    lines = [line.split(",") for line in LINES]
    for _ in range(data.draw(st.integers(1, 5))):
        i = data.draw(st.integers(0, len(lines) - 1))
        j = data.draw(st.integers(0, len(lines[i]) - 1)) if lines[i] else 0
        match data.draw(st.sampled_from(["replace", "insert", "remove", "drop", "repeat", "move"])):
            case "replace" if lines[i]:
                lines[i] = [*lines[i][:j], data.draw(FIELDS), *lines[i][j + 1 :]]
            case "insert":
                lines[i] = [*lines[i][:j], data.draw(FIELDS), *lines[i][j:]]
            case "remove":
                lines[i] = [*lines[i][:j], *lines[i][j + 1 :]]
            case "drop" if len(lines) > 1:
                del lines[i]
            case "repeat":
                lines.insert(data.draw(st.integers(0, len(lines))), lines[i])
            case _:
                lines.insert(data.draw(st.integers(0, len(lines) - 1)), lines.pop(i))
    text = "\n".join(map(",".join, lines))
    if any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        return
    model = parsed_or_rejected(text)
    if model is None:
        return
    assert MachineModel.parse(model.text) == model
    for threads in (1, 2, 100):
        assert all(model.bandwidth_gbs(level, threads) > 0 for level in range(4))
        assert model.fork_join_secs(threads) >= 0
    for isa, dtype in KERNELS:
        assert all(model.tile_cycles(isa, dtype, *tile, 64) > 0 for tile in register_tiles(isa, dtype))


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    parsed_or_rejected(text.encode(errors="ignore").decode())
    assert parsed_or_rejected(FIVE + text.encode(errors="ignore").decode().replace("\n", "?") + "?\n") is None


@pytest.mark.parametrize("isa", ["avx512", "avx2", "reference"])
def test_tiles_that_do_not_exist(isa: str) -> None:
    model = MachineModel.interpolated(2)
    if isa not in VECTOR_ISAS:
        with pytest.raises(ValueError, match=f"{isa}|no costs"):
            model.tile_cycles(isa, "float32", 1, 1, 1)
        return
    assert model.tile_cycles(isa, "float32", 28, 8 * LANES[isa], 1) == 0
    for rows, columns in ((0, 1), (29, 1), (1, 0), (1, -5), (1, 8 * LANES[isa] + 1)):
        with pytest.raises(ValueError, match="a register tile has 1 to 28 rows and 1 to 8 vectors"):
            model.tile_cycles(isa, "float32", rows, columns, 1)
    with pytest.raises(ValueError, match="level must be"):
        model.tile_cycles(isa, "float32", 1, 1, 1, 4)
    with pytest.raises(ValueError, match="float8"):
        model.tile_cycles(isa, "float8", 1, 1, 1)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "model.csv"
    path.write_text(TEXT)
    assert MachineModel.read(path) == MachineModel.interpolated(2)
    path.write_text("something else")
    with pytest.raises(ValueError, match=r"model.csv is not a machine model: the first line must be"):
        MachineModel.read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="is not a machine model"):
        MachineModel.read(path)
    with pytest.raises(FileNotFoundError):
        MachineModel.read(tmp_path / "missing.csv")


def test_the_models_of_the_library() -> None:
    """Each file of kernels/machines is parsed, and is for another CPU or number of cores."""
    models = MachineModel.built_in()
    assert len({(model.cpu, model.cores) for model in models}) == len(models)
    assert all(model.measured for model in models)


# Which model is that of this CPU. It is read once per process, so each case is a new one.
HOST = """
import json
from kernels import MachineModel
from kernels.machine_model import unreadable, user_file
model = MachineModel.host()
print(json.dumps([model.text, unreadable(), str(user_file() or ""), MachineModel.host() == model]))
"""


def run(script: str, environment: Mapping[str, str] | None = None) -> str:
    kept = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_CACHE_HOME")}
    process = subprocess.run(
        [sys.executable, "-c", script],
        env={**kept, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def host(environment: Mapping[str, str]) -> tuple[str, str | None, str]:
    """Returns the text of the model, the reason why a file is ignored, and the user's file."""
    text, reason, file, same = json.loads(run(HOST, environment))
    assert same
    return text, reason, file


def without_a_file() -> str:
    """Returns the text of the model of this CPU for users who have measured nothing."""
    text, reason, file = host({})
    assert (reason, file) == (None, "")
    return text


def user_path(cache: Path, cores: int | None = None) -> Path:
    path = cache / "loopwright" / "machines" / f"{_native.cpu_key()}-{cores or _native.usable_cores()}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def measured(ghz: str, cores: int) -> str:
    """Returns a text that differs from that of the interpolated model."""
    values = {"source": "measured", "ghz": ghz}
    return edited(lambda fields: [fields[0], values[fields[0]]] if fields[0] in values else fields, cores).text


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME"])
def test_the_users_file_is_the_model_of_this_cpu(tmp_path: Path, variable: str) -> None:
    path = user_path(tmp_path if variable == "XDG_CACHE_HOME" else tmp_path / ".cache")
    assert host({variable: str(tmp_path)}) == (without_a_file(), None, str(path))
    path.write_text(measured("2.75", _native.usable_cores()))
    assert host({variable: str(tmp_path)}) == (path.read_text(), None, str(path))


def test_a_relative_cache_folder_counts_as_missing(tmp_path: Path) -> None:
    """As the XDG base directory specification requires."""
    assert host({"XDG_CACHE_HOME": "relative"})[2] == ""
    assert host({"XDG_CACHE_HOME": "relative", "HOME": str(tmp_path)})[2] == str(user_path(tmp_path / ".cache"))


def test_a_file_of_fewer_cores_gives_the_costs_of_the_kernels(tmp_path: Path) -> None:
    """Its bandwidths and threads say nothing about more cores."""
    cores = _native.usable_cores()
    if cores == 1:
        pytest.skip("this process may use one core only")
    user_path(tmp_path, 1).write_text(measured("2.75", 1))
    text, reason, _ = host({"XDG_CACHE_HOME": str(tmp_path)})
    model = MachineModel.parse(text)
    assert reason is None
    assert (model.ghz, model.cores, model.measured) == (2.75, cores, False)
    assert model.fork_join_secs(2) > 0


def test_a_file_of_more_cores_serves_a_process_with_fewer(tmp_path: Path) -> None:
    """Processes are often bound to some cores. The nearest model is used."""
    cores = _native.usable_cores()
    for others in ([cores + 7, cores + 2, 4000], [cores + 2]):
        folder = tmp_path / str(len(others)) / str(min(others))
        for other in others:
            user_path(folder, other).write_text(measured("2.75", other))
        for name in ("notes.txt", f"{_native.cpu_key()}-many.csv", f"{_native.cpu_key()}-99999.csv", "Other-1-2-1.csv"):
            (folder / "loopwright" / "machines" / name).write_text("not a model")
        text, reason, file = host({"XDG_CACHE_HOME": str(folder)})
        assert (text, reason) == (measured("2.75", cores + 2), None)
        assert file == str(user_path(folder))
        user_path(folder).write_text(measured("2.5", cores))
        assert host({"XDG_CACHE_HOME": str(folder)})[0] == measured("2.5", cores)


def test_a_process_that_is_bound_to_one_core(tmp_path: Path) -> None:
    script = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n" + HOST
    user_path(tmp_path, 2).write_text(measured("2.75", 2))
    text, reason, file, _ = json.loads(run(script, {"XDG_CACHE_HOME": str(tmp_path)}))
    assert (text, reason, file) == (measured("2.75", 2), None, str(user_path(tmp_path, 1)))


def test_files_that_are_ignored_with_the_reason(tmp_path: Path) -> None:
    expected = without_a_file()
    path = user_path(tmp_path)
    cases = {
        FIVE: "it is for another CPU, Some-1-2",
        "loopwright machine model,1\nspeed,\xe4\n": "line 2, 'speed,",
        "": "the first line must be",
        " " * ((4 << 20) + 1): "it has more than 4 MiB",
    }
    for text, why in cases.items():
        path.write_text(text, encoding="latin-1")
        used, reason, _ = host({"XDG_CACHE_HOME": str(tmp_path)})
        assert used == expected
        assert reason is not None
        assert reason.startswith(f"{path} is ignored: {why}")
    path.unlink()
    path.mkdir()
    assert host({"XDG_CACHE_HOME": str(tmp_path)}) == (expected, f"{path} is ignored: it is not a file", str(path))
    path.rmdir()
    os.mkfifo(path)
    assert host({"XDG_CACHE_HOME": str(tmp_path)})[1] == f"{path} is ignored: it is not a file"
    path.unlink()
    path.symlink_to("/dev/zero")
    assert host({"XDG_CACHE_HOME": str(tmp_path)})[1] == f"{path} is ignored: it is not a file"


def test_the_cpu_and_its_cores() -> None:
    assert _native.cpu_key().replace("-", "").isalnum()
    assert 1 <= _native.usable_cores() <= len(os.sched_getaffinity(0))
