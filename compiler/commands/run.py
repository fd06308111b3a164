"""``python -m compiler run``: the outputs of a model for given or random inputs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compiler.commands import arrays, options
from compiler.commands.command_line import check_file
from compiler.commands.options import BuildOptions, InputFile
from compiler.commands.output import print_table, write, write_json
from compiler.commands.source import source

ABOUT = "runs a model once"
_LONGEST = 80  # characters of a printed string


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_model(parser, saved=True)
    options.add_inputs(parser)
    about = "write the outputs there, as .npy files in a folder or as one .npz file"
    parser.add_argument("--output", type=Path, metavar="DIR|FILE.npz", help=about)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    how = options.build_options(arguments)
    run_once(arguments.model, how, arguments.input, arguments.output, arguments.json)
    return 0


def run_once(
    path: Path, how: BuildOptions, given: Sequence[InputFile], output: Path | None, json_file: Path | None
) -> None:
    """Runs a model once, prints a summary of its outputs and writes them.

    Args:
        path: an ONNX file or a saved model.
        how: the options of the build.
        given: files of inputs; the other inputs are random.
        output: an .npz file or a folder for the outputs.
        json_file: a file for the results.

    Raises:
        ValueError, OSError: an invalid model, option or input, or a path that cannot be written.
    """
    check_file(json_file)
    if output is not None:
        (check_file if arrays.is_archive(output) else options.check_folder)(output)
    model = source(path, how, given)
    inputs, random = arrays.inputs(given, model.inputs)
    print(*model.summary(), *arrays.about_random(random), sep="\n", flush=True)
    answers = model.compiled().run(inputs)
    print()
    summaries = print_outputs(answers)
    if output is not None:
        write(output, lambda path: arrays.save(path, answers))
        print(f"Outputs: {output}")
    write_json(json_file, model.to_json() | {"random_inputs": random, "outputs": summaries})


def print_outputs(outputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Prints a table of the outputs of a run, and returns its rows for JSON."""
    summaries = [arrays.summary(name, array) for name, array in outputs.items()]
    print_table(("output", "type", "shape", "min", "max", "mean"), [_cells(s) for s in summaries], left=(0, 1, 2))
    for summary in summaries:
        if summary["values"]:
            print(f"Values of {summary['name']}: {', '.join(map(_value, summary['values']))}")
        if summary["top"]:
            listed = ", ".join(f"{place} ({score:.4g})" for place, score in summary["top"])
            print(f"Top {len(summary['top'])} of {summary['name']}: {listed}")
    return summaries


def _cells(summary: Mapping[str, Any]) -> list[str]:
    numbers = (summary[key] for key in ("min", "max", "mean"))
    return [
        summary["name"],
        summary["dtype"],
        "x".join(map(str, summary["shape"])) or "scalar",
        *(_number(number, summary["dtype"]) for number in numbers),
    ]


def _value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value if len(value) <= _LONGEST else f"{value[:_LONGEST]}...", ensure_ascii=False)
    return _number(value, "") if value is None or isinstance(value, float) else str(value)


def _number(number: float | None, dtype: str) -> str:
    if dtype in ("string", "sequence"):
        return ""
    return "not finite" if number is None else f"{number:.4g}"
