"""``python -m serving infer``: one run of a model on a running server."""

from __future__ import annotations

import argparse
from pathlib import Path

from compiler.commands import arrays
from compiler.commands.command_line import check_file, seconds
from compiler.commands.options import add_json, check_folder
from compiler.commands.output import write, write_json
from compiler.commands.run import print_outputs
from serving.client import Client
from serving.commands.inputs import add_inputs, given_inputs
from serving.commands.options import add_server, tls
from serving.commands.specs import tensor_specs

ABOUT = "runs a model of a running server once"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="the model's name")
    parser.add_argument("--version-or-label", default="", metavar="V", help="default: the one that the server selects")
    add_server(parser)
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=60,
        metavar="S",
        help="seconds that an answer may take (default: %(default)s)",
    )
    add_inputs(parser)
    about = "write the outputs there, as .npy files in a folder or as one .npz file"
    parser.add_argument("--output", type=Path, metavar="DIR|FILE.npz", help=about)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    check_file(arguments.json)
    output: Path | None = arguments.output
    if output is not None:
        (check_file if arrays.is_archive(output) else check_folder)(output)
    client = Client(arguments.host, arguments.http_port, arguments.timeout, tls(arguments))
    metadata = client.metadata(arguments.model, arguments.version_or_label)
    given = given_inputs(arguments.input, arguments.text, metadata)
    shapes = {name: array.shape for name, array in given}
    inputs, random = arrays.completed(given, tensor_specs(metadata, shapes))
    print(*arrays.about_random(random), sep="\n", end="\n" * bool(random), flush=True)
    answers = client.infer(arguments.model, inputs, arguments.version_or_label)
    summaries = print_outputs(answers)
    if output is not None:
        write(output, lambda path: arrays.save(path, answers))
        print(f"Outputs: {output}")
    write_json(arguments.json, {"model": arguments.model, "random_inputs": random, "outputs": summaries})
    return 0
