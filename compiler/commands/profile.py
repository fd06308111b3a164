"""``python -m compiler profile``: the time of each layer of a run, compared with its roofline."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from compiler.commands import arrays, options
from compiler.commands.command_line import at_least, check_file
from compiler.commands.options import BuildOptions, InputFile
from compiler.commands.output import print_table, progress, write, write_json
from compiler.commands.report.profile import KINDS, LAYERS, Profile
from compiler.commands.source import source

ABOUT = "times every layer of a model and compares it with its roofline"
RUNS = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_model(parser, saved=True)
    options.add_inputs(parser)
    add = parser.add_argument
    about = f"number of runs; the medians are shown (default: {RUNS})"
    add("--runs", type=at_least(1), default=RUNS, metavar="N", help=about)
    add("--html", type=Path, metavar="FILE", help="write a page with a bar for each layer")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    how = options.build_options(arguments)
    profile(arguments.model, how, arguments.input, arguments.runs, arguments.html, arguments.json)
    return 0


def profile(
    path: Path, how: BuildOptions, given: Sequence[InputFile], runs: int, html_file: Path | None, json_file: Path | None
) -> None:
    """Profiles a model, prints two tables and writes the files.

    Args:
        path: an ONNX file or a saved model.
        how: the options of the build.
        given: files of inputs; the other inputs are random.
        runs: the number of runs.
        html_file: a file for the page.
        json_file: a file for the results.

    Raises:
        ValueError, OSError: an invalid model, option or input, or a path that cannot be written.
    """
    for file in (html_file, json_file):
        check_file(file)
    model = source(path, how, given)
    inputs, random = arrays.inputs(given, model.inputs)
    conditions = [*model.summary(), *arrays.about_random(random)]
    print(*conditions, sep="\n", flush=True)
    compiled = model.compiled()
    with progress(f"Profiling {model.path.name}"):
        rows = compiled.profile(inputs, runs)
    found = Profile(tuple(rows), frozenset(layer.name for layer in compiled.untuned))
    print()
    print_table(LAYERS, found.cells(), left=(0, 1, 2, 7))
    print()
    print_table(KINDS, found.sums(), left=(0,))
    if html_file:
        from compiler.commands.report.page import page

        text = page(model.path.name, conditions, found)
        write(html_file, lambda file: file.write_text(text, encoding="utf-8"))
        print(f"Page: open {html_file} in a browser")
    write_json(json_file, model.to_json() | {"random_inputs": random, "runs": runs, **found.to_json()})
