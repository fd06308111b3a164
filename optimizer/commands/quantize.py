"""``python -m optimizer quantize``: quantizes an ONNX model to 8-bit integers."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.commands.command_line import at_least, check_file
from compiler.commands.output import print_table, progress, write, write_json
from compiler.installation import extras
from optimizer.commands.options import number
from optimizer.methods import METHODS

if TYPE_CHECKING:
    from optimizer import Quantized

ABOUT = "quantizes a model to 8-bit integers, without retraining"
MOST_SHIFTS = 5  # layers that are listed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("input", metavar="IN.onnx", type=Path, help="the model: an .onnx file, or a folder or zip archive with one")
    add("output", metavar="OUT.onnx", type=Path, help="the quantized model")
    about = "20 to 200 typical samples: an .npz file, or a folder of .npy files, with arrays by the names of the inputs"
    add("--data", metavar="DATA", type=Path, required=True, help=about)
    default = next(iter(METHODS))
    about = f"how ranges of activations follow from the samples: {', '.join(METHODS)} (default: {default})"
    add("--method", choices=tuple(METHODS), default=default, metavar="METHOD", help=about)
    about = "do not change biases so that each channel keeps its mean"
    add("--no-bias-correction", dest="bias_correction", action="store_false", help=about)
    add(
        "--adaround",
        action="store_true",
        help="round weights so that the outputs of layers change least (takes minutes)",
    )
    about = (
        "make the ranges of channels between two layers alike first, where a Relu, a pool or nothing is between them"
    )
    add("--equalize", action="store_true", help=about)
    about = "a node that stays in floating point, by its name; may be repeated"
    add("--exclude", action="append", default=[], metavar="NODE", help=about)
    about = "keep layers of large errors in floating point, so that at most PP percentage points are lost: of the "
    about += "samples with the right label, or without labels in DATA, with the original's class"
    add("--max-drop", type=number, metavar="PP", help=about)
    add("--errors", action="store_true", help="print what each layer alone changes in the answers")
    add("--threads", type=at_least(1), metavar="N", help="threads of ONNX Runtime (default: its own choice)")
    add("--json", type=Path, metavar="FILE", help="write the results to FILE")


def run(arguments: argparse.Namespace) -> int:
    extras.require("quantizing a model", "optimizer")
    check_file(arguments.json)
    check_file(arguments.output)
    import onnx

    from optimizer.data import read
    from optimizer.quantize import quantize

    data = read(arguments.data)
    start = time.perf_counter()
    with progress("Quantizing"):
        found = quantize(
            arguments.input,
            data,
            arguments.method,
            arguments.bias_correction,
            arguments.exclude,
            arguments.threads,
            arguments.max_drop,
            arguments.errors,
            arguments.adaround,
            arguments.equalize,
        )
    seconds = time.perf_counter() - start
    write(arguments.output, lambda path: onnx.save(found.model, path))
    sizes = [path.stat().st_size for path in (arguments.input, arguments.output)]
    _print(found, seconds, sizes, arguments)
    write_json(
        arguments.json,
        {
            "input": str(arguments.input),
            "output": str(arguments.output),
            "method": arguments.method,
            "seconds": seconds,
            "bytes": {"input": sizes[0], "output": sizes[1]},
            "quantized": list(found.quantized),
            "left": [{"node": name, "operator": operator} for name, operator in found.left],
            "shifts": dict(found.shifts),
            "errors": [dict(vars(error)) for error in found.errors],
            "accuracy": None if found.accuracy is None else dict(vars(found.accuracy)),
            "outputs": [each.to_json() for each in found.outputs],
        },
    )
    return 0


def _print(found: Quantized, seconds: float, sizes: list[int], arguments: argparse.Namespace) -> None:
    in_float = () if found.accuracy is None else found.accuracy.in_float
    print(f"Layers in 8-bit integers: {len(found.quantized)}; in floating point: {len(found.left)}")
    for name, operator in found.left:
        if name in in_float:
            why = f"otherwise, more than {arguments.max_drop:g} percentage points would be lost"
        else:
            why = "it is excluded" if name in arguments.exclude else "its weights are not constant"
        print(f"  {operator} {name}: {why}")
    largest = sorted(found.shifts.items(), key=lambda item: -item[1])[:MOST_SHIFTS]
    if largest:
        print("Largest corrections of biases, in standard deviations of the output of the layer:")
        print_table(("layer", "shift"), [(name, f"{shift:.3f}") for name, shift in largest], left=[0])
    if arguments.errors:
        print("What each layer alone changes in the answers (divergence of probabilities, or relative power):")
        rows = [(error.layer, error.operator, f"{error.divergence:.3g}") for error in found.errors]
        print_table(("layer", "operator", "change"), rows, left=[0, 1])
    if found.accuracy is not None:
        what = "Right labels" if found.accuracy.of_labels else "Samples with the class of the original"
        print(f"{what}: {found.accuracy.before:.2%} before, {found.accuracy.after:.2%} after")
    print("Outputs on the samples, compared with the original in floating point:")
    rows = [
        (each.output, f"{each.sqnr_db:.1f}", "" if each.agreement is None else f"{each.agreement:.1%}")
        for each in found.outputs
    ]
    print_table(("output", "SQNR, dB", "same largest element"), rows, left=[0])
    print(f"Quantized in {seconds:.1f} s")
    print(f"Saved: {arguments.output} ({sizes[1] / 2**20:.3g} MiB; before {sizes[0] / 2**20:.3g})")
