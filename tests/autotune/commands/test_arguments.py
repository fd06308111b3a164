"""Every invalid argument gives one line with the alternatives and exit code 2, before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

import kernels
from autotune import search
from autotune.backends import BACKENDS
from autotune.commands.arguments import DEFAULT_TRIALS, joined, operator_options, parser
from compiler.workloads.operators import OPERATORS
from compiler.workloads.target import usable_cores
from tests.autotune.fake_runner import FakeRunner, unused
from tests.autotune.tiny_model import save_tiny_model


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaint(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Returns the error message for an invalid command line."""
    with pytest.raises(SystemExit) as stop:
        search.main(argv, FakeRunner(unused))
    assert stop.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    return line.removeprefix("python -m autotune.search: error: ")


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        ((), ["--op"]),
        ((), ["--model"]),
        (("--op", "dense", "--model", "tiny.onnx"), ["--model", "not allowed with argument --op"]),
        (("--op", "dense", "--graph"), ["--graph", "only allowed with argument --model"]),
        (("--op", "dense", "--input-shape", "x=1"), ["--input-shape", "only allowed with argument --model"]),
        (("--model", "tiny.onnx", "--shape", "1x2x3"), ["--shape", "not allowed with argument --model"]),
        (("--model", "tiny.onnx", "--dtype", "bfloat16"), ["--dtype", "not allowed with argument --model"]),
        (("--model", "tiny.onnx", "--backend", "tvm"), ["--backend", "tvm", "choose from: kernel"]),
        (("--model", "tiny.onnx", "--arch", "mmx"), ["--arch", "mmx"]),
        (("--model", "tiny.onnx", "--threads", "100000"), ["threads", "100000", str(usable_cores())]),
        (("--model", "tiny.onnx", "--input-shape", "x"), ["--input-shape", "'x'", "x:1,3,224,224"]),
        (("--model", "tiny.onnx", "--input-shape", "x=1x0"), ["--input-shape", "'x=1x0'"]),
        (("--model", "tiny.onnx", "--input-shape", "=1x2"), ["--input-shape", "'=1x2'"]),
        (("--model", "tiny.onnx", *["--input-shape", "x=1"] * 2), ["--input-shape", "x is given twice"]),
        (("--model", "tiny.onnx", "--input-shape", "z=1x2"), ["--model", "z"]),
        (("--model", "tiny.onnx"), ["--model", "sizes are not known", "give --input-shape"]),
        (("--model", "missing.onnx"), ["--model", "missing.onnx"]),
        (("--model", "notes"), ["--model", "notes"]),
        (("--model", "."), ["--model"]),
        (("--model", "tiny.onnx", "--graph"), ["records.sqlite", "search with --model first"]),
        (("--model", "tiny.onnx", "--graph", "--trials", "3"), ["--trials", "not allowed with argument --graph"]),
        (("--model", "tiny.onnx", "--machine", "notes"), ["notes is not a machine model"]),
        (("--op", "dense", "--machine", "missing.csv"), ["cannot read the machine model missing.csv"]),
        (("--model", "tiny.onnx", "--json", "missing/results.json"), ["missing/results.json", "another"]),
        (("--model", "tiny.onnx", "--report", "notes/page"), ["notes/page", "another"]),
        (("--op", "conv9d"), ["--op", "conv9d", "dense"]),
        (("--op", "dense", "--arch", "mmx"), ["--arch", "mmx", "host", "avx512", "avx2", "reference"]),
        (("--op", "dense", "--dtype", "float7"), ["--dtype", "float7", "float32"]),
        (("--op", "dense", "--strategy", "luck"), ["--strategy", "luck", "rl", "evolutionary", "random"]),
        (("--op", "dense", "--backend", "gpu"), ["--backend", "gpu", "kernel", "tvm", "all"]),
        (("--op", "dense", "--trials", "0"), ["--trials", "'0'", "1 or more"]),
        (("--op", "dense", "--trials", "-3"), ["--trials", "'-3'", "1 or more"]),
        (("--op", "dense", "--trials", "1e3"), ["--trials", "'1e3'"]),
        (("--op", "dense", "--threads", "0"), ["--threads", "'0'", "1 or more"]),
        (("--op", "dense", "--threads", "100000"), ["threads", "100000", str(usable_cores())]),
        (("--op", "dense", "--seed", "-1"), ["--seed", "'-1'", "0 or more"]),
        (("--op", "dense", "--shape", "128x768"), ["3", "mxnxk", "128"]),
        (("--op", "dense", "--shape", "1x2x3x4"), ["3", "mxnxk"]),
        (("--op", "dense", "--shape", "0x768x768"), [">= 1", "0"]),
        (("--op", "dense", "--shape", "-1x768x768"), ["--shape", "'-1x768x768'", "MxNxK"]),
        (("--op", "dense", "--shape", ""), ["--shape", "MxNxK"]),
        (("--op", "dense", "--shape", "axbxc"), ["--shape", "'axbxc'", "MxNxK"]),
        (("--op", "dense", "--shape", "1x2x"), ["--shape", "'1x2x'", "MxNxK"]),
        (("--op", "dense", "--shape", "1.5x2x3"), ["--shape", "'1.5x2x3'", "MxNxK"]),
        (("--op", "dense", "--shape", "١x٢x٣"), ["--shape", "MxNxK"]),
        (("--op", "dense", "--shape", "999999x999999x999999"), ["999999x999999x999999", "memory", "available"]),
        (("--op", "dense", "--shape", f"{10**11}x{10**11}x{10**11}"), ["memory", "available"]),
        (("--op", "conv2d", "--shape", "1x8x8x4x4"), ["--shape", "1x8x8x4x4", "7 sizes"]),
        (("--op", "conv2d", "--shape", "1x8x8x4x4x9x9"), ["9x9", "8x8"]),
        (("--op", "conv2d", "--shape", "1x8x8x4x4x3x3,pad=1"), ["--shape", "'pad'", "padding"]),
        (("--op", "conv2d", "--shape", "1x99999x99999x99x99x3x3"), ["memory", "available"]),
        (("--op", "attention", "--backend", "tvm"), ["--backend", "tvm", "attention", "choose from: kernel"]),
        (("--op", "attention", "--shape", "64x64x999999x999999x8"), ["memory", "available"]),
        (
            ("--op", "dense", "--dtype", "bfloat16", "--arch", "reference"),
            ["--dtype", "bfloat16", "reference", "float32"],
        ),
        (("--op", "attention", "--dtype", "bfloat16"), ["--dtype", "bfloat16"]),
        (("--op", "dense", "--report", "notes/page"), ["notes/page", "another"]),
        (("--op", "dense", "--json", "missing/results.json"), ["missing/results.json", "another"]),
        (("--op", "dense", "--json", "."), ["directory", "another"]),
        (("--op", "dense", "--records", "missing/r.sqlite"), ["missing", "another"]),
        (("--op", "dense", "--records", "notes"), ["notes", "another"]),
        (("--op", "dense", "--records", "."), ["directory", "choose"]),
        (("--op", "dense", "--no-winograd"), ["--no-winograd: renamed to --no-fast-algorithms"]),
        (("--no-winograd",), ["--no-winograd: renamed to --no-fast-algorithms"]),
        (("--op", "dense", "--frobnicate"), ["--frobnicate"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_invalid_argument_gives_one_line(
    argv: tuple[str, ...],
    parts: list[str],
    capsys: pytest.CaptureFixture[str],
    empty_directory: Path,
) -> None:
    (empty_directory / "notes").write_text("neither a database nor a directory\n" * 100)
    if "tiny.onnx" in argv:
        save_tiny_model(empty_directory, height="h")
    line = complaint(capsys, *argv)
    assert [part for part in parts if part not in line] == []
    assert (empty_directory / "notes").read_text().startswith("neither a database")


def test_an_isa_that_this_cpu_lacks_is_rejected(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "available_isas", lambda: ("avx2", "reference"))
    assert complaint(capsys, "--op", "dense", "--arch", "avx512") == ("this CPU has no avx512; it has: avx2, reference")


def test_a_file_that_cannot_be_written_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", denied)
    assert "cannot write results.json: Permission denied" in complaint(
        capsys, "--op", "dense", "--json", "results.json"
    )


def test_checking_leaves_files_as_they_were(empty_directory: Path) -> None:
    kept = empty_directory / "kept.json"
    kept.write_text("{}")
    for name in ("kept.json", "new.json"):
        operator_options(parser().parse_args(["--op", "dense", "--json", name]))
    assert kept.read_text() == "{}"
    assert sorted(path.name for path in empty_directory.iterdir()) == ["kept.json", "reports"]
    assert not list((empty_directory / "reports").iterdir())


def test_by_default_every_layer_is_searched_on_every_backend() -> None:
    options = operator_options(parser().parse_args(["--op", "dense"]))
    assert [workload.dims for workload in options.workloads] == list(OPERATORS["dense"].networks)
    assert options.backends == BACKENDS
    assert [options.trials_on(backend) for backend in BACKENDS] == [DEFAULT_TRIALS[b] for b in BACKENDS]


def test_shapes_and_trials_are_taken_from_the_arguments() -> None:
    shapes = ["--shape", "1x2x3", "--shape", "4x5x6", "--shape", "1x2x3"]
    argv = ["--op", "dense", *shapes, "--backend", "kernel", "--trials", "7"]
    options = operator_options(parser().parse_args(argv))
    assert [workload.dims for workload in options.workloads] == [(1, 2, 3), (4, 5, 6)]
    assert options.backends == ("kernel",)
    assert options.trials_on("kernel") == 7


def test_convolutions_with_and_without_fast_algorithms() -> None:
    argv = ["--op", "conv2d", "--shape", "1x8x8x4x4x3x3,stride=2", "--shape", "1x8x8x4x4x3x3"]
    options = operator_options(parser().parse_args([*argv, "--no-fast-algorithms"]))
    assert [workload.sizes["stride_h"] for workload in options.workloads] == [2, 1]
    assert not options.fast_algorithms
    assert operator_options(parser().parse_args(argv)).fast_algorithms


def test_only_a_negative_shape_is_joined_to_its_option() -> None:
    assert joined(["--shape", "-1x2x3", "--trials", "-1"]) == ["--shape=-1x2x3", "--trials", "-1"]
    assert joined(["--shape", "1x2x3", "--shape", "--seed"]) == ["--shape", "1x2x3", "--shape", "--seed"]
