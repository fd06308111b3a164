"""The arguments of ``python -m autotune.search``, checked before anything slow begins."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from autotune.backends import BACKENDS, backends
from autotune.commands.shapes import notation, parse_shape, shape_text
from autotune.strategies import STRATEGIES
from compiler.commands.command_line import (
    DEFAULT_RECORDS,
    EXIT_CODES,
    Parser,
    add_fast_algorithms,
    add_machine,
    add_version,
    at_least,
    check_file,
    check_folder,
)
from compiler.workloads.machines import with_machine
from compiler.workloads.operators import OPERATORS
from compiler.workloads.target import ISAS, Target
from compiler.workloads.workload import DTYPE_BYTES, Workload

# With the default dense layers, about two minutes on two cores. A trial on TVM takes several times as long, since it
# compiles.
DEFAULT_TRIALS: Mapping[str, int] = {"kernel": 96, "tvm": 48}
# For each workload of a model, on average. They are spent where they are expected to gain most.
TRIALS_PER_WORKLOAD = 32


@dataclass(frozen=True)
class OperatorOptions:
    """The options of a search of an operator's shapes.

    Attributes:
        trials: of each workload on each backend; None for ``DEFAULT_TRIALS``.
    """

    target: Target
    workloads: tuple[Workload, ...]
    backends: tuple[str, ...]
    strategy: str
    trials: int | None
    seed: int
    records: Path
    json: Path | None
    report: Path
    fast_algorithms: bool

    def trials_on(self, backend: str) -> int:
        return self.trials or DEFAULT_TRIALS[backend]


def parser() -> Parser:
    shapes = "; ".join(f"{op}: {notation(op)}, such as {of.notation.example}" for op, of in OPERATORS.items())
    trials = ", ".join(f"{count} on {backend}" for backend, count in DEFAULT_TRIALS.items())
    parser = Parser(
        prog="python -m autotune.search",
        description="Searches the fastest schedules of an operator, or of a model's layers, on this CPU.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_version(parser)
    searched = parser.add_mutually_exclusive_group(required=True)
    searched.add_argument("--op", choices=OPERATORS, help="search shapes of an operator")
    searched.add_argument("--model", type=Path, metavar="FILE", help="search all layers of an ONNX model")
    add("--arch", default="host", choices=("host", *ISAS), help="instruction set (default: host, the best of this CPU)")
    add(
        "--shape",
        action="append",
        metavar="SHAPE",
        help=f"{shapes}; may be given several times (default: layers of real networks)",
    )
    add(
        "--input-shape",
        action="append",
        metavar="NAME:SIZE,...",
        help="sizes of a model's input with dynamic dimensions, such as x:1,3,224,224; may be given several times",
    )
    add(
        "--graph",
        action="store_true",
        help="measure a model's best stored schedules inside the running network, and store the choice",
    )
    add("--dtype", default="float32", choices=DTYPE_BYTES, help="element type (default: float32)")
    add(
        "--threads",
        type=at_least(1),
        metavar="N",
        help="threads of a program (default: 1; with --model the default of compiler.build)",
    )
    add(
        "--backend",
        default="all",
        choices=(*BACKENDS, "all"),
        help="kernel: our kernels; tvm: TVM's code (default: all)",
    )
    add_machine(parser)
    add_fast_algorithms(parser)
    add("--strategy", default="rl", choices=STRATEGIES, help="strategy that proposes the candidates (default: rl)")
    add(
        "--trials",
        type=at_least(1),
        metavar="N",
        help=f"candidates to measure: for each shape (default: {trials}), or for a model as a whole, spent where they "
        f"are expected to gain most (default: {TRIALS_PER_WORKLOAD} for each of its workloads)",
    )
    add("--seed", default=0, type=at_least(0), metavar="S", help="seed of all random choices (default: 0)")
    add(
        "--records",
        default=DEFAULT_RECORDS,
        type=Path,
        metavar="FILE",
        help=f"file of all measurements, from which a search continues (default: {DEFAULT_RECORDS})",
    )
    add("--json", type=Path, metavar="FILE", help="write the results to a file")
    add(
        "--report",
        default=Path("reports"),
        type=Path,
        metavar="DIR",
        help="write search curves and roofline to DIR/index.html (default: reports)",
    )
    return parser


def joined(argv: Sequence[str]) -> list[str]:
    """Joins each ``--shape`` and its value into one argument, because argparse would read -1x2x3 as an option."""
    arguments: list[str] = []
    for argument in argv:
        if arguments and arguments[-1] == "--shape" and re.match(r"-\d", argument):
            arguments[-1] += f"={argument}"
        else:
            arguments.append(argument)
    return arguments


def operator_options(arguments: argparse.Namespace) -> OperatorOptions:
    """Returns the checked options of a search of an operator.

    Raises:
        ValueError: an ISA that this CPU lacks, more threads than cores, more data than memory, or a file that cannot be
            written. The message lists the alternatives.
    """
    for name in ("input_shape", "graph"):
        if getattr(arguments, name):
            raise ValueError(f"argument --{name.replace('_', '-')}: only allowed with argument --model")
    target = with_machine(Target.named(arguments.arch, arguments.threads or 1), arguments.machine)
    if arguments.dtype not in (possible := target.dtypes):
        raise ValueError(
            f"argument --dtype: {target.isa} on this CPU has no {arguments.dtype}; choose from: {', '.join(possible)}"
        )
    op, dtype = arguments.op, arguments.dtype
    shapes = [_shape(op, text) for text in arguments.shape] if arguments.shape else list(OPERATORS[op].networks)
    workloads = tuple(dict.fromkeys(Workload(op, dims, dtype) for dims in shapes))
    chosen = _backends(workloads[0], arguments.backend)
    for workload in workloads:
        check_memory(workload)
    check_file(arguments.json)
    check_folder(arguments.report, "index.html")
    return OperatorOptions(
        target=target,
        workloads=workloads,
        backends=chosen,
        strategy=arguments.strategy,
        trials=arguments.trials,
        seed=arguments.seed,
        records=arguments.records,
        json=arguments.json,
        report=arguments.report,
        fast_algorithms=arguments.fast_algorithms,
    )


def _shape(op: str, text: str) -> tuple[int, ...]:
    try:
        return parse_shape(op, text)
    except ValueError as error:
        raise ValueError(f"argument --shape: {error}") from None


def _backends(workload: Workload, requested: str) -> tuple[str, ...]:
    """Returns the requested backend, or all that have schedules for such workloads."""
    possible = backends(workload)
    if not possible:
        raise ValueError(
            f"argument --dtype: no backend computes {workload.op} in {workload.dtype}; choose another type"
        )
    if requested not in (*possible, "all"):
        raise ValueError(
            f"argument --backend: {requested} has no schedules for {workload.op} in {workload.dtype}; "
            f"choose from: {', '.join(possible)}"
        )
    return possible if requested == "all" else (requested,)


def check_memory(workload: Workload) -> None:
    """Checks that the memory suffices to measure and verify a workload.

    Raises:
        ValueError: it does not.
    """
    definition = workload.operator
    needed = definition.verify_factor * workload.bytes + definition.verify_bytes(workload.sizes)
    available = psutil.virtual_memory().available
    if needed > available:
        raise ValueError(
            f"shape {shape_text(workload)} takes {needed >> 20:,} MiB of memory to measure and verify; "
            f"{available >> 20:,} MiB are available"
        )
