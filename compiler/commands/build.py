"""``python -m compiler build``: an ONNX model becomes a folder that ``compiler.load`` reads."""

from __future__ import annotations

import argparse
import resource
import shlex
import time
from pathlib import Path

from compiler.commands import options
from compiler.commands.command_line import check_file
from compiler.commands.output import progress, write, write_json
from compiler.commands.source import OnnxFile, onnx_file

ABOUT = "builds a model and saves it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_model(parser, saved=False)
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT.lw", help="the folder to write")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    output: Path = arguments.output
    check_file(arguments.json)
    _check_output(output)
    if arguments.model.is_dir():
        raise ValueError(f"{arguments.model} is a folder; build takes an .onnx file")
    start = time.perf_counter()
    model = onnx_file(arguments)
    print(*model.summary(), sep="\n", flush=True)
    compiled = model.compiled()
    seconds, peak = time.perf_counter() - start, _peak_bytes()
    with progress(f"Saving {output}"):
        write(output, compiled.save)
    generated = list(compiled.generated)
    tunable = [layer for layer in compiled.layers if layer.workload is not None]
    print(f"Layers on our kernels: {len(compiled.layers)}; generated functions: {len(generated)}")
    if compiled.untuned:
        print(
            f"{len(compiled.untuned)} of {len(tunable)} layers that have schedules run by their default one; "
            f"tune them with: {_tuning(arguments, model)}"
        )
    print(f"Built in {seconds:.1f} s; peak memory {peak >> 20:,} MiB")
    saved_bytes = sum(file.stat().st_size for file in output.iterdir())
    print(f"Saved: {output} ({saved_bytes / 2**20:.3g} MiB)")
    write_json(
        arguments.json,
        model.to_json()
        | {
            "output": str(output),
            "output_bytes": saved_bytes,
            "seconds": seconds,
            "peak_bytes": peak,
            "layers": [layer.name for layer in compiled.layers],
            "tunable": [layer.name for layer in tunable],
            "untuned": [layer.name for layer in compiled.untuned],
            "generated": generated,
        },
    )
    return 0


def _check_output(path: Path) -> None:
    from compiler.program.saved_model import MANIFEST

    if path.exists() and not (path / MANIFEST).is_file():
        raise ValueError(f"cannot write {path}: it exists and is no saved model; choose another path")
    options.check_folder(path.absolute().parent)


def _tuning(arguments: argparse.Namespace, model: OnnxFile) -> str:
    """The command that searches for this model's layers, as they are built here."""
    words = ["python", "-m", "autotune.search", "--model", str(arguments.model)]
    for name, sizes in model.shapes.items():
        words += ["--input-shape", f"{name}:{','.join(map(str, sizes))}"]
    words += ["--threads", str(model.target.num_cores)]
    if arguments.target not in (None, "host"):
        words += ["--arch", arguments.target]
    if arguments.records:
        words += ["--records", str(arguments.records)]
    if not arguments.fast_algorithms:
        words.append("--no-fast-algorithms")
    return shlex.join(words)


def _peak_bytes() -> int:
    """The most memory that this process has held at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
