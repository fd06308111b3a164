"""``python -m compiler bench``: a model's latency, side by side with other runtimes on this machine.

Answers are compared before anything is timed. The contenders then run by turns; see ``compiler.measure.sampling``.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from compiler.commands import arrays, options
from compiler.commands.command_line import check_file
from compiler.commands.output import print_table, progress, write_json
from compiler.commands.source import OnnxFile, SavedModel, source
from compiler.measure import affinity
from compiler.measure.answers import agree
from compiler.measure.comparison import Ratio, speedup
from compiler.measure.sampling import Latencies, measure
from compiler.runtimes import PEERS, PeerUnavailable, prepare

if TYPE_CHECKING:
    import onnx

ABOUT = "compares a model's latency with that in other runtimes"
OURS = "loopwright"
DEFAULT_PEERS = ("onnxruntime", "openvino")
# Of an output's scale. Rounding in float32 stays far below the first, a wrong answer hardly ever does. Where a model
# rounds to 8 bits itself, the least difference before that may become a whole step after it, in each layer anew.
LARGEST_DIFFERENCE, LARGEST_OF_QUANTIZED = 0.01, 0.1

Arrays: TypeAlias = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Contender:
    """Attributes:
    run: the answers to the inputs.
    difference: of its answers and ours, relative to the scale of an output; None for ourselves.
    allowed: the largest that rounding explains.
    """

    name: str
    version: str
    run: Callable[[Arrays], Arrays]
    difference: float | None = None
    allowed: float = LARGEST_DIFFERENCE

    @property
    def agrees(self) -> bool:
        return self.difference is None or self.difference <= self.allowed


@dataclass(frozen=True)
class Result:
    contender: Contender
    latencies: Latencies
    speedup: Ratio | None  # of ours over it

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.contender.name,
            "version": self.contender.version,
            "latencies": dataclasses.asdict(self.latencies),
            "difference": self.contender.difference,
            "speedup": dataclasses.asdict(self.speedup) if self.speedup else None,
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_model(parser, saved=True)
    options.add_inputs(parser)
    default = ",".join(DEFAULT_PEERS)
    add = parser.add_argument
    add(
        "--peers",
        type=_peers,
        metavar="NAME,...",
        help=f"of {', '.join(PEERS)}, or none (default: {default}; none for a saved model, which peers cannot read)",
    )
    about = "seconds of timed runs for each; at least one run in each of 20 rounds (default: 10)"
    add("--duration", type=options.seconds, default=10.0, metavar="S", help=about)
    add("--no-pin", dest="pin", action="store_false", help="do not keep the process to as many cores as threads")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    check_file(arguments.json)
    model = source(arguments)
    peers = _chosen(arguments.peers, model)
    inputs, random = arrays.inputs(arguments.input, model.inputs)
    cores = affinity.cores(model.target.num_cores) if arguments.pin else []
    print(*model.summary(), *arrays.said_of_random(random), _pinning(cores, arguments.pin), sep="\n", flush=True)
    with affinity.pinned(cores):
        ours = Contender(OURS, importlib.metadata.version("loopwright"), model.compiled().run)
        others, left_out = _prepared(peers, model, inputs, ours.run(inputs))
        for reason in left_out.values():
            print(f"Left out: {reason}")
        results = _measured((ours, *others), inputs, arguments.duration)
    print()
    headings, rows = _table(results)
    print_table(headings, rows, left=(0,))
    if others:
        print(
            f"Difference: the largest between answers and {OURS}'s, of an output's scale. "
            f"Speedup: the median over {OURS}'s, with its 95 % interval."
        )
    write_json(
        arguments.json,
        model.to_json()
        | {
            "random_inputs": random,
            "cores": cores or None,
            "duration": arguments.duration,
            "results": [result.to_json() for result in results],
            "left_out": left_out,
        },
    )
    wrong = [contender for contender in others if not contender.agrees]
    for contender in wrong:
        print(
            f"{contender.name} and {OURS} differ by {contender.difference:.2g} of an output's scale; rounding explains "
            f"at most {contender.allowed}, so one of them computes something else",
            file=sys.stderr,
        )
    return 1 if wrong else 0


def _peers(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(","))) if text != "none" else ()
    for name in names:
        if name not in PEERS:
            raise argparse.ArgumentTypeError(f"there is no peer {name!r}; choose from: {', '.join(PEERS)}, none")
    return names


def _chosen(given: tuple[str, ...] | None, model: OnnxFile | SavedModel) -> tuple[str, ...]:
    if isinstance(model, OnnxFile):
        return DEFAULT_PEERS if given is None else given
    if given:
        raise ValueError(f"argument --peers: peers cannot read the saved model {model.path}; give the .onnx file")
    return ()


def _pinning(cores: Sequence[int], wanted: bool) -> str:
    if cores:
        return f"Pinned to core{'s' * (len(cores) > 1)} {', '.join(map(str, cores))}"
    return "Not pinned: this system cannot" if wanted else "Not pinned"


def _prepared(
    names: Sequence[str], model: OnnxFile | SavedModel, inputs: Arrays, expected: Arrays
) -> tuple[list[Contender], dict[str, str]]:
    """The peers that answer, and why the others do not."""
    if not names or not isinstance(model, OnnxFile):
        return [], {}
    proto = model.frozen()
    allowed = LARGEST_OF_QUANTIZED if is_quantized(proto) else LARGEST_DIFFERENCE
    tried: dict[str, Contender | str] = {}
    for name in names:
        with progress(f"Loading the model into {name}"):
            found = _try(name, proto, model.target.num_cores, inputs, expected)
        tried[name] = dataclasses.replace(found, allowed=allowed) if isinstance(found, Contender) else found
    return (
        [peer for peer in tried.values() if isinstance(peer, Contender)],
        {name: reason for name, reason in tried.items() if isinstance(reason, str)},
    )


def _try(name: str, model: onnx.ModelProto, threads: int, inputs: Arrays, expected: Arrays) -> Contender | str:
    """The peer with the model loaded, or in one line why it cannot take part."""
    try:
        peer = prepare(name, model, threads)
        return Contender(name, peer.version, peer.run, agree(expected, peer.run(inputs)))
    except PeerUnavailable as error:
        return _line(error)
    except Exception as error:  # noqa: BLE001 - their errors share no base class
        return f"{name} fails on this model: {_line(error)}"


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether values, and not only weights, are rounded to integers."""
    return any(re.search("(^|Dynamic)Quantize|QLinear", node.op_type) for node in model.graph.node)


def _measured(contenders: Sequence[Contender], inputs: Arrays, duration: float) -> list[Result]:
    runs = {contender.name: _bound(contender.run, inputs) for contender in contenders}
    with progress("Measuring") as done:
        samples = measure(runs, duration, progress=done)
    ours = samples[OURS]
    return [
        Result(c, samples[c.name].latencies, None if c.name == OURS else speedup(ours, samples[c.name]))
        for c in contenders
    ]


def _bound(run: Callable[[Arrays], Arrays], inputs: Arrays) -> Callable[[], Arrays]:
    return lambda: run(inputs)


def _table(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """A column a contender."""
    latencies = [result.latencies for result in results]
    ratios = [result.speedup for result in results]
    differences = [result.contender.difference for result in results]
    rows = [
        ["Version", *(result.contender.version for result in results)],
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
    return ["", *(result.contender.name for result in results)], rows


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
