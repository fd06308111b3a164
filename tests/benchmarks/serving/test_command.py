"""The benchmark of servers: wrong arguments are one line, and a tiny run without Triton gives a table and a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.serving import command, report
from benchmarks.serving.messages import ROWS
from benchmarks.serving.servers import OURS, TRITON, Running
from serving.program import server_program

cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "rest-xml"], "must be some of rest-json,rest-binary,"),
        (["--slices", "0"], "not a whole number of 1 or more"),
        (["--duration", "0"], "not a number of seconds above 0"),
        (["--json", "/none/such.json"], "cannot write"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def need_a_server() -> None:
    try:
        server_program()
    except RuntimeError as missing:
        if os.environ.get("LOOPWRIGHT_REQUIRE_SERVING"):
            raise
        pytest.skip(str(missing))
    if cores < 2:
        pytest.skip("the server and the client need a core each")


def test_a_tiny_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_a_server()
    pytest.importorskip("tritonclient")
    before = os.sched_getaffinity(0)
    assert command.main(["--slices", "2", "--duration", "0.01", "--json", str(tmp_path / "r.json")]) == 0
    assert os.sched_getaffinity(0) == before
    results = json.loads((tmp_path / "r.json").read_text())
    assert [result["row"] for result in results] == list(ROWS)
    for result in results:
        assert [each["requests"] > 0 for each in result["slices"][OURS]] == [True, True]
    out = capsys.readouterr().out
    assert "gRPC, 602 KB" in out
    assert TRITON not in out


def test_a_folder_without_triton(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_a_server()
    with pytest.raises(SystemExit) as ended:
        command.main(["--rows", "rest-json", "--triton", str(tmp_path)])
    assert ended.value.code == 2
    assert "pip install --no-deps --target FOLDER nvidia-pytriton" in capsys.readouterr().err


def test_cpu_time_includes_child_processes() -> None:
    busy = "import time; b = time.process_time()\nwhile time.process_time() < b + 0.3: pass"
    code = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {busy!r} + chr(10) + "print(1, flush=True); time.sleep(60)"])
child.wait()
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert parent.stdout
        parent.stdout.readline()
        assert Running(parent, {}, "").cpu_secs() >= 0.3
    finally:
        os.killpg(parent.pid, 9)
        parent.wait()


def test_the_table_has_medians_and_ratios() -> None:
    def slices(micros: list[float], rate: int) -> list[dict[str, float]]:
        return [{"requests": rate, "wall_secs": 1.0, "cpu_secs": each * rate * 1e-6} for each in micros]

    result = {
        "about": "REST",
        "cpu": "a CPU",
        "isa": "avx2",
        "versions": {OURS: "1", TRITON: "2"},
        "server_core": 0,
        "client_core": 1,
        "slices": {OURS: slices([10, 11, 15], 3000), TRITON: slices([99, 110, 120], 1000)},
    }
    row = list(report.lines([result]))[-1]
    assert "11.0 [10.0, 15.0]" in row
    assert "110.0 [99.0, 120.0]" in row
    assert row.split()[-4:] == ["10.0", "3.00", "[3.00,", "3.00]"]
