"""``python -m serving``: upload, promote and bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from serving.load import arrivals
from tests.graph_passes.models import model
from tests.serving.client import Server
from tests.serving.models import affine, write_version

TOKEN = "0123456789abcdef"  # noqa: S105 - of a server on this machine


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "serving", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


def test_upload_promote_and_roll_back(
    add_version: Callable[..., Path],
    compiled: Callable[[float], Path],
    start: Callable[..., Server],
    token: Path,
    tmp_path: Path,
) -> None:
    add_version(1)
    server = start("--admin-port", "0", "--admin-token-file", str(token))
    admin = ("--admin-port", server.ports["admin"], "--admin-token-file", token)
    assert run("promote", "affine", 1, *admin).stdout == "Promoted: affine, version 1, label stable\n"
    onnx.save(affine(2), tmp_path / "two.onnx")
    for number, source in ((2, tmp_path / "two.onnx"), (3, compiled(3.0))):
        done = run("upload", "affine", number, source, *admin)
        assert (done.returncode, done.stdout) == (0, f"Uploaded: affine, version {number}\n"), done.stderr
    server.wait_for_state(3, "READY")
    assert server.scale() == 1
    assert run("promote", "affine", 3, *admin).returncode == 0
    assert server.scale() == 3
    assert run("promote", "affine", "--rollback", *admin).stdout == "Rolled back: affine, label stable, to version 1\n"
    assert server.scale() == 1
    again = run("upload", "affine", 3, compiled(3.0), *admin)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "immutable" in again.stderr


def test_uploads_that_are_not_served(
    add_version: Callable[..., Path], start: Callable[..., Server], token: Path, tmp_path: Path
) -> None:
    add_version(5)
    server = start("--admin-port", "0", "--admin-token-file", str(token))
    admin = ("--admin-port", server.ports["admin"], "--admin-token-file", token)
    onnx.save(affine(2), tmp_path / "two.onnx")
    done = run("upload", "affine", 2, tmp_path / "two.onnx", *admin)
    policy = (
        'neither "versions" of config.toml nor a label selects it; select it with "versions" to serve or promote it'
    )
    assert (done.returncode, done.stdout) == (0, f"Uploaded, not served: affine, version 2: {policy}\n"), done.stderr
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    done = run("upload", "affine", 6, tmp_path / "broken.onnx", *admin)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    prefix = "python -m serving upload: uploaded, but version 6 of affine is not served: the model cannot be compiled: "
    assert done.stderr.startswith(prefix)
    assert server.index()[6][0] in ("UNAVAILABLE", "LOADING")
    for number, reason in ((2, policy), (6, "its load failed: the model cannot be compiled: ")):
        done = run("promote", "affine", number, *admin)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"version {number} of 'affine' is not ready, so it cannot be promoted: {reason}" in done.stderr
    assert server.scale() == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "none"], "the repository none is not a folder"),
        (["serve", ".", "--http-port", "70000"], "is not a port"),
        (["serve", ".", "--admin-port", "0"], "go together"),
        (["serve", ".", "--grpc-port", "8002"], "--grpc-port and --metrics-port are both 8002"),
        (
            ["upload", "m", "0", "x.onnx", "--admin-port", "1", "--admin-token-file", "t"],
            "is not a whole number of 1 or more",
        ),
        (["promote", "m", "--admin-port", "1", "--admin-token-file", "t"], "required"),
        (["promote", "m", "1", "--percent", "101", "--admin-port", "1", "--admin-token-file", "t"], "from 0 to 100"),
        (["upload", "m", "1", "x.onnx", "--admin-port", "1", "--admin-token-file", "none"], "No such file"),
        # What the server's program reports.
        (["serve", ".", "--tls-certificate", "none", "--tls-key", "none"], "No such file"),
        (["serve", ".", "--trace-rate", "1"], "--trace-rate needs --trace-endpoint"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"python -m serving {arguments[0]}: error: ")
    assert message in done.stderr


def test_a_server_that_does_not_run(token: Path, tmp_path: Path) -> None:
    onnx.save(affine(1), tmp_path / "m.onnx")
    done = run("upload", "m", 1, tmp_path / "m.onnx", "--admin-port", 1, "--admin-token-file", token)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no answer from 127.0.0.1:1: " in done.stderr
    assert done.stderr.endswith("; is the server started?\n")
    (tmp_path / "m.bin").touch()
    for name, message in (("none.onnx", "no such file: none.onnx"), ("m.bin", "m.bin is not an ONNX file")):
        done = run("upload", "m", 1, name, "--admin-port", 1, "--admin-token-file", token)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert message in done.stderr


def test_infer(server: Server, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[1, 2, 3, 4]], np.float32))
    ports = ("--http-port", server.ports["http"])
    done = run("infer", "affine", *ports, "--input", "x=x.npy", "--output", "y.npz", "--json", "r.json")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load("y.npz")["y"], [[3, 5, 7, 9]])
    assert "\nValues of y: 3, 5, 7, 9\n" in done.stdout
    assert json.loads((tmp_path / "r.json").read_text())["outputs"][0]["values"] == [3, 5, 7, 9]
    assert "Random inputs (seed 0): x" in run("infer", "affine", *ports, "--version-or-label", 2).stdout
    for arguments, message in (
        (["none"], "no model 'none'"),
        (["affine", "--version-or-label", "7"], "has no version 7"),
        (["affine", "--input", "z=x.npy"], "no input 'z'"),
        (["affine", "--input", "x=none.npy"], "none.npy"),
    ):
        done = run("infer", *arguments, *ports)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert message in done.stderr


def test_infer_with_strings(start: Callable[..., Server], tmp_path: Path) -> None:
    """All ways to give them agree."""
    pytest.importorskip("onnxruntime")
    echo = model("g (string[n] x, float[n] z) => (string[n] y, float[n] w) { y = Identity (x) w = Neg (z) }")
    write_version(tmp_path / "repository" / "echo" / "1", echo, 'runtime = "onnxruntime"\n')
    server = start()
    server.wait_for_state(1, "READY", "echo")
    ports = ("--http-port", server.ports["http"])
    texts = ["a=b", "\u20ac 2"]
    np.save("text.npy", np.array(texts))
    np.save("bytes.npy", np.array([text.encode() for text in texts]))
    np.savez("all.npz", x=np.array(texts), z=np.array([1, 2], np.float32))
    (tmp_path / "x.json").write_text(json.dumps(texts))
    (tmp_path / "z.json").write_text("[1, 2]")
    for options in (
        ("--input", "x=text.npy", "--input", "z=z.json"),
        ("--input", "x=bytes.npy", "--input", "z=z.json"),
        ("--input", "x=x.json", "--input", "z=z.json"),
        ("--input", "all.npz"),
        ("--text", f"x={texts[0]}", "--text", f"x={texts[1]}", "--input", "z=z.json"),
        ("--text", texts[0], "--text", texts[1], "--input", "z=z.json"),
    ):
        done = run("infer", "echo", *ports, *options, "--output", "y.npz")
        assert done.returncode == 0, done.stderr
        found = np.load("y.npz")
        assert (found["y"].tolist(), found["w"].tolist()) == (texts, [-1, -2]), options
    (tmp_path / "one.txt").write_text("two\nlines")
    assert run("infer", "echo", *ports, "--input", "x=one.txt", "--output", "y.npz").returncode == 0
    assert np.load("y.npz")["y"].tolist() == ["two\nlines"]
    (tmp_path / "bad.json").write_text("[[1, 2], [3]]")
    (tmp_path / "deep.json").write_text("[" * 100_000 + "]" * 100_000)
    (tmp_path / "null.json").write_text("[1, null]")
    (tmp_path / "half.json").write_text('["\\ud800"]')
    for options, message in (
        ((), "input x has strings; give --text x=TEXT or --input x=FILE"),
        (("--text", "q", "--input", "x=text.npy"), "gives x twice"),
        (("--input", "x=bad.json"), "bad.json: input x must have strings, in arrays of one size"),
        (("--text", "q", "--input", "z=bad.json"), "bad.json: "),
        (("--text", "q", "--input", "z=deep.json"), "deep.json: its arrays are nested too deeply"),
        (("--text", "q", "--input", "z=null.json"), "null.json: input z must have values of FP32, not null"),
        (("--input", "x=half.json"), r"half.json: input x must have text that UTF-8 can encode, got '\ud800'"),
        (("--text", "\udcff"), r"input x must have text that UTF-8 can encode, got '\udcff'"),
        (("--text", "q", "--input", "z=none.json"), "cannot read none.json"),
        (("--text", "q", "--input", "v=z.json"), "z.json is not an .npy file"),
    ):
        done = run("infer", "echo", *ports, *options)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert message in done.stderr


def test_bench(server: Server, tmp_path: Path) -> None:
    ports = ("--http-port", server.ports["http"], "--metrics-port", server.ports["metrics"])
    for options in ((), ("--json-tensors", "--concurrency", 3)):
        done = run("bench", "affine", *ports, "--duration", 0.2, *options, "--json", "r.json")
        assert done.returncode == 0, done.stderr
        found = json.loads((tmp_path / "r.json").read_text())
        assert found["failures"] == 0
        assert 0 < found["p50_ms"] <= found["p99_ms"]
        assert found["server_cpu_us_per_request"] > 0
        assert (found["rejected"], found["expired"]) == (0, 0)


def test_bench_in_an_open_loop(server: Server, tmp_path: Path) -> None:
    ports = ("--http-port", server.ports["http"])
    np.savez(tmp_path / "x.npz", x=np.ones((1, 4), np.float32))
    sent = ("--rate", 300, "--duration", 0.5, "--seed", 3, "--input", "x.npz", "--version", 2, "--timeout-ms", 60_000)
    done = run("bench", "affine", *ports, *sent, "--json", "r.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["requests"] == len(arrivals(300, 0.5, 3))
    assert found["goodput_per_second"] == found["requests_per_second"]
    assert found["generator_late_p99_ms"] >= 0
    for options, message in (
        (("--rate", 0), "requests per second above 0"),
        (("--rate", 9, "--concurrency", 2), "not allowed with"),
        (("--rate", 1e9), "at most"),
        (("--version", 7), "no version 7"),
        (("--input", "none.npz"), "cannot read none.npz"),
    ):
        done = run("bench", "affine", *ports, *options)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert message in done.stderr


def test_validate(add_version: Callable[..., Path], tmp_path: Path) -> None:
    add_version(1)
    done = run("validate", "repository")
    assert (done.returncode, done.stdout, done.stderr) == (0, "affine, version 1: loads and runs\n", "")
    done = run("validate", "repository/affine")
    assert done.returncode == 1
    assert "repository/affine looks like the folder of one model; give the folder above it" in done.stdout
    (tmp_path / "empty").mkdir()
    done = run("validate", "empty")
    assert (done.returncode, done.stdout[:16]) == (1, "no models found;")
    (tmp_path / "repository" / "my model").mkdir()
    (tmp_path / "repository" / "affine" / "config.toml").write_text("[labels]\nstable = {version = 7}\n")
    (tmp_path / "repository" / "broken" / "1").mkdir(parents=True)
    done = run("validate", "repository")
    assert (done.returncode, done.stderr) == (1, "")
    assert "the model name 'my model' must be" in done.stdout
    assert "affine, version 7: there is no folder of this version\n" in done.stdout
    assert "broken, version 1: the folder has none of the files that can be served: model.lw, model.onnx" in done.stdout
