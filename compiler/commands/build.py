"""``python -m compiler build``: compiles an ONNX model into a folder that ``compiler.load`` reads."""

from __future__ import annotations

import argparse
import dataclasses
import resource
import shlex
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.commands import options
from compiler.commands.command_line import check_file
from compiler.commands.options import BuildOptions
from compiler.commands.output import progress, write, write_json
from compiler.commands.source import onnx_file
from compiler.installation import extras
from compiler.program.compiled_model import CompiledModel
from compiler.program.profile import SEGMENT
from compiler.program.random_inputs import random_inputs
from compiler.program.ranged_model import RangedModel
from compiler.program.tensor_spec import TensorSpec
from compiler.workloads.layer import Layer
from compiler.workloads.operators.int8 import INT8
from compiler.workloads.precision import BFLOAT16

if TYPE_CHECKING:
    import numpy as np

ABOUT = "builds a model and saves it"
RANDOM = Path()  # of --check without a file
_REASONS = 5  # that are printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_model(parser, saved=False)
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT.lw", help="the folder to write")
    parser.add_argument(
        "--check",
        nargs="?",
        type=Path,
        const=RANDOM,
        metavar="DATA.npz",
        help="compare the outputs with ONNX Runtime's on these inputs, best real data (default: random values), and "
        "name the graph pass or the layer that is wrong; needs the extra 'check'",
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    build(arguments.model, options.build_options(arguments), arguments.output, arguments.json, arguments.check)
    return 0


def build(path: Path, how: BuildOptions, output: Path, json_file: Path | None, check: Path | None = None) -> None:
    """Builds the model of a file, saves it as a folder and prints what was done.

    Args:
        path: the ONNX file.
        how: the options of the build.
        output: the folder to write.
        json_file: a file for the results.
        check: an .npz file of inputs on which the outputs are checked; ``RANDOM`` for random inputs, None for no check.

    Raises:
        ValueError, OSError: an invalid model or option, or a path that cannot be written.
        RuntimeError: the check failed. Nothing is written.
    """
    check_file(json_file)
    _check_output(output)
    start = time.perf_counter()
    model = onnx_file(path, how)
    print(*model.summary(), sep="\n", flush=True)
    of_fixed_sizes = {
        "--check": check is not None,
        "--records": how.records,
        "--tune": how.tune,
        "--strict": how.strict,
        "--precision": how.precision == BFLOAT16,
    }
    for option, is_given in of_fixed_sizes.items():
        if is_given and model.has_ranges:
            raise ValueError(f"argument {option}: it is for fixed sizes, and --input-shape has ranges")
    data = None if check is None else _data(check, model.inputs)
    compiled = model.compiled_for_ranges() if model.has_ranges else model.compiled(data)
    seconds, peak = time.perf_counter() - start, _peak_bytes()
    with progress(f"Saving {output}"):
        write(output, compiled.save)
    generated = list(compiled.generated)
    tunable = [layer for layer in compiled.layers if layer.workload is not None]
    users = [layer for layer in compiled.layers if not layer.workloads]
    listed = f"; operators of users: {len(users)}" * bool(users)
    print(f"Layers on our kernels: {len(compiled.layers) - len(users)}{listed}; generated functions: {len(generated)}")
    in_float: Sequence[str] = ()
    if isinstance(compiled, CompiledModel):
        in_float = compiled.in_float
        print(*_about_integers(compiled.layers, in_float), sep="", end="")
    share = _segments_share(compiled) if isinstance(compiled, CompiledModel) else 0.0
    print(*_about_segments(compiled, share), sep="\n", end="\n" if compiled.segments else "")
    if compiled.tuned:
        print("Tuned:", *(f"  {line}" for line in compiled.tuned.lines()), sep="\n")
    # A search of a model finds its layers of float32 and of integers.
    searchable = [layer for layer in compiled.untuned if layer.dtype != BFLOAT16]
    if searchable:
        command = tuning_command(path, how, model.shapes, model.target.num_cores)
        untuned = f"{len(searchable)} of {len(tunable)} tunable layers run their default schedule"
        print(f"{untuned}; tune them with: {command}")
    for checked in compiled.checked or ():
        print(f"Checked: output {checked}")
    print(f"Built in {seconds:.1f} s; peak memory {peak >> 20:,} MiB")
    saved_bytes = sum(file.stat().st_size for file in output.iterdir())
    print(f"Saved: {output} ({saved_bytes / 2**20:.3g} MiB)")
    write_json(
        json_file,
        model.to_json()
        | {
            "output": str(output),
            "output_bytes": saved_bytes,
            "seconds": seconds,
            "peak_bytes": peak,
            "layers": [layer.name for layer in compiled.layers],
            "tunable": [layer.name for layer in tunable],
            "untuned": [layer.name for layer in compiled.untuned],
            "in_float": list(in_float),
            "generated": generated,
            "segments": [{"operators": s.operators, "reasons": s.reasons} for s in compiled.segments],
            "segments_share": share,
            "tuned": compiled.tuned.to_json() if compiled.tuned else None,
            "checked": None if compiled.checked is None else [dataclasses.asdict(d) for d in compiled.checked],
        },
    )


def _about_integers(layers: Sequence[Layer], in_float: Sequence[str]) -> Iterator[str]:
    """Yields lines about quantized layers, of which only some are computed in integers."""
    count = sum(layer.dtype == INT8 for layer in layers)
    if count or in_float:
        yield f"Layers in 8-bit integers: {count}; quantized layers in float32: {len(in_float)}\n"
    yield from (f"  {line}\n" for line in in_float[:_REASONS])
    if len(in_float) > _REASONS:
        yield f"  ... and {len(in_float) - _REASONS} more (--json has all)\n"


def _about_segments(compiled: CompiledModel | RangedModel, share: float | None) -> Iterator[str]:
    """Yields lines about the parts that ONNX Runtime runs."""
    for place, segment in enumerate(compiled.segments):
        yield f"Segment {place} runs in ONNX Runtime (nodes: {segment.nodes}): {segment}"
        yield from (f"  {reason}" for reason in segment.reasons)
    if compiled.segments:
        time = (
            "not known: it does not run on random inputs" if share is None else f"{share:.0%} of a run on random inputs"
        )
        yield f"Time in ONNX Runtime: {time}"


def _segments_share(compiled: CompiledModel) -> float | None:
    """Returns the share of a run that segments take, on random inputs; None if the model does not accept them."""
    if not compiled.segments:
        return 0.0
    try:
        calls = compiled.call_secs(random_inputs(compiled.inputs), runs=5)
    except ValueError:
        return None
    secs = {call: statistics.median(call.secs) for call in calls}
    return sum(s for call, s in secs.items() if call.function == SEGMENT) / sum(secs.values())


def _data(check: Path, specs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """Returns the inputs of the check, and prints a line if they are random."""
    from compiler.commands import arrays

    extras.require("--check", "check")
    if check != RANDOM:
        return arrays.archived(check, specs)
    found, random = arrays.inputs((), specs)
    print(*arrays.about_random(random), sep="\n", flush=True)
    return found


def tuning_command(path: Path, how: BuildOptions, shapes: Mapping[str, Sequence[int | range]], threads: int) -> str:
    """Returns the command that searches schedules for the layers of a model, as this build creates them."""
    words = ["python", "-m", "autotune.search", "--model", str(path)]
    for name, sizes in shapes.items():
        words += ["--input-shape", options.written_shape(name, sizes)]
    words += ["--threads", str(threads)]
    if how.target not in (None, "host"):
        words += ["--arch", str(how.target)]
    if how.machine:
        words += ["--machine", how.machine]
    if how.records:
        words += ["--records", str(how.records)]
    if not how.fast_algorithms:
        words.append("--no-fast-algorithms")
    return shlex.join(words)


def _check_output(path: Path) -> None:
    from compiler.program.saved_model import MANIFEST

    if path.exists() and not (path / MANIFEST).is_file():
        raise ValueError(f"cannot write {path}: it exists and is not a saved model; choose another path")
    options.check_folder(path.absolute().parent)


def _peak_bytes() -> int:
    """Returns the largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
