"""``python -m compiler profile``: where the time of a run goes, layer by layer, beside the roofline."""

from __future__ import annotations

import argparse
from pathlib import Path

from compiler.commands import arrays, options
from compiler.commands.command_line import at_least, check_file
from compiler.commands.output import print_table, progress, write, write_json
from compiler.commands.report.profile import KINDS, LAYERS, Profile
from compiler.commands.source import source

ABOUT = "times every layer of a model beside its roofline"
RUNS = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_model(parser, saved=True)
    options.add_inputs(parser)
    add = parser.add_argument
    about = f"runs, whose medians are shown (default: {RUNS})"
    add("--runs", type=at_least(1), default=RUNS, metavar="N", help=about)
    add("--html", type=Path, metavar="FILE", help="write a page with a bar for each layer there")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    for path in (arguments.html, arguments.json):
        check_file(path)
    model = source(arguments)
    inputs, random = arrays.inputs(arguments.input, model.inputs)
    said = [*model.summary(), *arrays.said_of_random(random)]
    print(*said, sep="\n", flush=True)
    compiled = model.compiled()
    with progress(f"Profiling {model.path.name}"):
        rows = compiled.profile(inputs, arguments.runs)
    profile = Profile(tuple(rows), frozenset(layer.name for layer in compiled.untuned))
    print()
    print_table(LAYERS, profile.cells(), left=(0, 1, 2, 7))
    print()
    print_table(KINDS, profile.sums(), left=(0,))
    if arguments.html:
        from compiler.commands.report.page import page

        text = page(model.path.name, said, profile)
        write(arguments.html, lambda path: path.write_text(text, encoding="utf-8"))
        print(f"Page: open {arguments.html} in a browser")
    write_json(
        arguments.json,
        model.to_json() | {"random_inputs": random, "runs": arguments.runs, **profile.to_json()},
    )
    return 0
