"""``python -m compiler run``: the answers of a model to given or random inputs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compiler.commands import arrays, options
from compiler.commands.command_line import check_file
from compiler.commands.output import print_table, write, write_json
from compiler.commands.source import source

ABOUT = "runs a model once"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_model(parser, saved=True)
    options.add_inputs(parser)
    about = "write the outputs there, as .npy files in a folder or as one .npz file"
    parser.add_argument("--output", type=Path, metavar="DIR|FILE.npz", help=about)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    output: Path | None = arguments.output
    check_file(arguments.json)
    if output is not None:
        (check_file if arrays.is_archive(output) else options.check_folder)(output)
    model = source(arguments)
    given, random = arrays.inputs(arguments.input, model.inputs)
    print(*model.summary(), *arrays.said_of_random(random), sep="\n", flush=True)
    answers = model.compiled().run(given)
    summaries = [arrays.summary(name, array) for name, array in answers.items()]
    print()
    print_table(("output", "type", "shape", "min", "max", "mean"), [_cells(s) for s in summaries], left=(0, 1, 2))
    for summary in summaries:
        if summary["top"]:
            listed = ", ".join(f"{place} ({score:.4g})" for place, score in summary["top"])
            print(f"Top {len(summary['top'])} of {summary['name']}: {listed}")
    if output is not None:
        write(output, lambda path: arrays.save(path, answers))
        print(f"Outputs: {output}")
    write_json(arguments.json, model.to_json() | {"random_inputs": random, "outputs": summaries})
    return 0


def _cells(summary: Mapping[str, Any]) -> list[str]:
    numbers = (summary[key] for key in ("min", "max", "mean"))
    return [
        summary["name"],
        summary["dtype"],
        "x".join(map(str, summary["shape"])) or "scalar",
        *("not finite" if number is None else f"{number:.4g}" for number in numbers),
    ]
