"""``python -m compiler bench``: the latency of a model compared with other runtimes on this machine.

Answers are compared before anything is timed. The implementations then take turns; see ``compiler.measure.sampling``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from compiler.commands import arrays, options, throughput
from compiler.commands.command_line import check_file, seconds
from compiler.commands.comparison import Implementation, Result, allowed_difference, compare, load_other
from compiler.commands.options import InputFile
from compiler.commands.output import print_table, progress, write_json
from compiler.commands.source import OnnxFile, SavedModel, source
from compiler.measure import affinity
from compiler.runtimes import OURS, RUNTIMES, ours
from compiler.workloads.precision import BFLOAT16, resolved

ABOUT = "compares the latency of a model with other runtimes"
DEFAULT_PEERS = ("onnxruntime", "openvino")
_IN_BFLOAT16 = {"openvino": "openvino-bfloat16"}  # the default peers of a model in bfloat16, where they have it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_model(parser, saved=True)
    options.add_inputs(parser)
    default = ",".join(DEFAULT_PEERS)
    add = parser.add_argument
    add(
        "--peers",
        type=_peers,
        metavar="NAME,...",
        help=f"runtimes to compare with: {', '.join(_known_peers())}, or none (default: {default}; none for a saved "
        "model, which other runtimes cannot read)",
    )
    about = "seconds of timed runs per runtime, with at least one run in each of 20 rounds (default: 10)"
    add("--duration", type=seconds, default=10.0, metavar="S", help=about)
    add("--no-pin", dest="pin", action="store_false", help="do not pin the process to as many cores as threads")
    throughput.add_arguments(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    check_file(arguments.json)
    if throughput.wanted(arguments):
        return throughput.run(arguments, lambda model: _chosen(arguments.peers, model))
    model = source(arguments.model, options.build_options(arguments), arguments.input)
    peers = _chosen(arguments.peers, model)
    return bench(model, peers, arguments.input, arguments.duration, arguments.pin, arguments.json)


def bench(
    model: OnnxFile | SavedModel,
    peers: Sequence[str],
    given: Sequence[InputFile],
    duration: float,
    pin: bool,
    json_file: Path | None,
) -> int:
    """Compares answers and latencies, prints them, and returns the exit code: 1 if answers differ.

    Args:
        model: the model. Other runtimes need an ONNX file.
        peers: the names of the other runtimes.
        given: files of inputs; the other inputs are random.
        duration: seconds of timed runs per runtime.
        pin: whether to pin the process to as many cores as threads.
        json_file: a file for the results.
    """
    inputs, random = arrays.inputs(given, model.inputs)
    cores = affinity.cores(model.target.num_cores) if pin else []
    print(*model.summary(), *arrays.about_random(random), _pinning(cores, pin), sep="\n", flush=True)
    with affinity.pinned(cores), ExitStack() as opened:
        mine = Implementation(opened.enter_context(ours.of(model.compiled())))
        others, left_out = _others(peers, model, inputs, mine, opened)
        for reason in left_out.values():
            print(f"Left out: {reason}")
        with progress("Measuring") as shown:
            results = compare(mine, others, inputs, duration, shown)
    print()
    headings, rows = _table(results)
    print_table(headings, rows, left=(0,))
    if others:
        print(
            f"Difference: the largest difference from the answers of {OURS}, relative to the scale of an output. "
            f"Speedup: the median divided by that of {OURS}, with its 95 % interval."
        )
    write_json(
        json_file,
        model.to_json()
        | {
            "random_inputs": random,
            "cores": cores or None,
            "duration": duration,
            "results": [result.to_json() for result in results],
            "left_out": left_out,
        },
    )
    wrong = [other for other in others if not other.agrees]
    for other in wrong:
        print(
            f"{other.name} and {OURS} differ by {other.difference:.2g} of an output's scale; rounding explains "
            f"at most {other.allowed}, so the answer of one of them is wrong",
            file=sys.stderr,
        )
    return 1 if wrong else 0


def _known_peers() -> list[str]:
    return [name for name in RUNTIMES if name != OURS]


def _peers(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(","))) if text != "none" else ()
    known = _known_peers()
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"there is no peer {name!r}; choose from: {', '.join(known)}, none")
    return names


def _chosen(given: tuple[str, ...] | None, model: OnnxFile | SavedModel) -> tuple[str, ...]:
    if isinstance(model, OnnxFile):
        if given is None and resolved(model.precision, model.target) == BFLOAT16:
            return tuple(_IN_BFLOAT16.get(name, name) for name in DEFAULT_PEERS)
        return DEFAULT_PEERS if given is None else given
    if given:
        raise ValueError(f"argument --peers: peers cannot read the saved model {model.path}; give the .onnx file")
    return ()


def _pinning(cores: Sequence[int], wanted: bool) -> str:
    if cores:
        return f"Pinned to core{'s' * (len(cores) > 1)} {', '.join(map(str, cores))}"
    return "Not pinned: this system cannot pin processes" if wanted else "Not pinned"


def _others(
    peers: Sequence[str],
    model: OnnxFile | SavedModel,
    inputs: Mapping[str, np.ndarray],
    mine: Implementation,
    opened: ExitStack,
) -> tuple[list[Implementation], dict[str, str]]:
    """Returns the runtimes that run the model, and the reasons why the others do not."""
    if not peers or not isinstance(model, OnnxFile):
        return [], {}
    proto, expected = model.frozen(), mine.runtime.run(inputs)
    others: list[Implementation] = []
    allowed, left_out = allowed_difference(proto, model.precision), dict[str, str]()
    for name in peers:
        with progress(f"Loading the model into {name}"):
            found = load_other(name, proto, model.target.num_cores, inputs, expected, allowed, model.operators)
        if isinstance(found, Implementation):
            opened.enter_context(found.runtime)
            others.append(found)
        else:
            left_out[name] = found
    return others, left_out


def _table(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Returns the headings and rows, one column per implementation."""
    latencies = [result.latencies for result in results]
    ratios = [result.speedup for result in results]
    differences = [result.implementation.difference for result in results]
    rows = [
        ["Version", *(result.implementation.runtime.version for result in results)],
        ["Count", *(f"{each.count}" for each in latencies)],
        ["Duration, s", *(f"{each.duration:.2f}" for each in latencies)],
        ["Median, ms", *(_ms(each.median) for each in latencies)],
        ["Average, ms", *(_ms(each.average) for each in latencies)],
        ["Min, ms", *(_ms(each.min) for each in latencies)],
        ["p90, ms", *(_ms(each.p90) for each in latencies)],
        ["p99, ms", *(_ms(each.p99) for each in latencies)],
        ["Throughput, /s", *(f"{each.throughput:.2f}" for each in latencies)],
    ]
    if len(results) > 1:
        rows += [
            ["Difference", *("" if d is None else f"{d:.1e}" for d in differences)],
            ["Speedup", *("" if r is None else f"{r.value:.3f}" for r in ratios)],
            ["95 % interval", *("" if r is None else f"{r.low:.3f} to {r.high:.3f}" for r in ratios)],
        ]
    return ["", *(result.implementation.name for result in results)], rows


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}"
