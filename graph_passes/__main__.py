"""The command line ``python -m graph_passes``: an ONNX model in, an optimized one out.

Exit codes: 0 done, 1 a failure of its own (a wrong answer under ``--check``), 2 a wrong argument or input.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from graph_passes import DEFAULT_PASSES, PASSES, Optimized, Pass, optimize
from graph_passes.report import amount, table

if TYPE_CHECKING:
    from graph_passes.check import Difference
    from graph_passes.lazy import ir

PROG = "python -m graph_passes"


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is one ``--help`` away."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def parser() -> Parser:
    parser = Parser(
        prog=PROG,
        description="Rewrites an ONNX model into one that gives the same answers with less work.",
        epilog="Exit codes: 0 done, 1 a failure of its own, 2 a wrong argument or input.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("input", metavar="IN.onnx", type=Path, help="the model")
    about = "where the optimized model goes; weights over 2 GiB, or that came in a file of their own, as OUT.onnx.data"
    add("output", metavar="OUT.onnx", type=Path, help=about)
    add(
        "--input-shape",
        action="append",
        default=[],
        type=_shape,
        metavar="NAME:SIZE,...",
        help="sizes of an input with dynamic dimensions, such as x:1,3,224,224; may be given several times",
    )
    default = ",".join(a_pass.name for a_pass in DEFAULT_PASSES)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--passes", type=_names, metavar="NAME,...", help=f"of {', '.join(PASSES)}, in this order (default: {default})"
    )
    chosen.add_argument("--skip", type=_names, default=[], metavar="NAME,...", help="leave these out of the default")
    add("--check", action="store_true", help="compare the answers in ONNX Runtime; where they differ, write nothing")
    add("--each", action="store_true", help="write the model after every pass too: OUT.1.freeze_shapes.onnx, ...")
    add("--verbose", action="store_true", help="say what each pass chose, and why it left something as it was")
    add("--json", type=Path, metavar="FILE", help="write what each pass changed there")
    for a_pass in PASSES.values():
        _add_parameters(parser, a_pass)
    return parser


def _add_parameters(parser: argparse.ArgumentParser, a_pass: type[Pass]) -> None:
    """The fields of a pass that have a help text."""
    fields = [field for field in dataclasses.fields(a_pass) if "help" in field.metadata]
    if not fields:
        return
    group = parser.add_argument_group(f"parameters of {a_pass.name}")
    for field in fields:
        flag, about = f"--{a_pass.name}-{field.name}".replace("_", "-"), field.metadata["help"]
        common: dict[str, Any] = {"dest": f"{a_pass.name}.{field.name}", "default": field.default}
        if isinstance(field.default, bool):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, help=about, **common)
        else:
            group.add_argument(flag, type=_whole, metavar="N", help=f"{about} (default: {field.default})", **common)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    Raises:
        SystemExit: 2 after one line on standard error that says what is wrong; 0 after ``--help``.
    """
    command = parser()
    arguments = command.parse_args(argv)
    for path in (arguments.output, arguments.json):
        if path is not None and not path.absolute().parent.is_dir():
            command.error(f"cannot write {path}: there is no folder {path.parent}")
        if path is not None and path.is_dir():
            command.error(f"cannot write {path}: it is a folder")
    given = [name for name, _ in arguments.input_shape]
    for name in given:
        if given.count(name) > 1:
            command.error(f"--input-shape gives {name} twice")
    try:
        optimized = _optimized(arguments)
    except (ValueError, OSError) as error:
        command.error(" ".join(str(error).split()))
    print(table(optimized.reports))
    if arguments.verbose:
        _print_remarks(optimized)
    _print_operators(optimized.ir_model)
    try:
        differences = _checked(arguments, optimized)
        if differences is None:
            return 1
        optimized.save(arguments.output)
        if arguments.json:
            arguments.json.write_text(json.dumps(_content(optimized, differences), indent=2, allow_nan=False) + "\n")
    except ValueError as error:
        command.error(str(error))
    except (OSError, ImportError, RuntimeError) as error:
        print(f"{PROG}: {error}", file=sys.stderr)
        return 1
    print(f"Written: {arguments.output}")
    return 0


def _optimized(arguments: argparse.Namespace) -> Optimized:
    parameters: dict[str, dict[str, Any]] = {name: {} for name in PASSES}
    for key, value in vars(arguments).items():
        name, _, field = key.partition(".")
        if field:
            parameters[name][field] = value
    names = arguments.passes or [p.name for p in DEFAULT_PASSES if p.name not in arguments.skip]
    passes = [PASSES[name](**parameters[name]) for name in names]

    def write_each(place: int, a_pass: Pass, model: ir.Model) -> None:
        from graph_passes.model_io import write

        output: Path = arguments.output
        write(model, output.with_name(f"{output.stem}.{place + 1}.{a_pass.name}.onnx"))

    shapes = dict(arguments.input_shape)
    return optimize(arguments.input, shapes, passes, write_each if arguments.each else None)


def _checked(arguments: argparse.Namespace, optimized: Optimized) -> list[Difference] | None:
    """Differences of each output, none where no check is asked for; None, after saying so, where an answer is wrong."""
    if not arguments.check:
        return []
    from graph_passes.check import compare, failures

    differences = compare(arguments.input, optimized.ir_model)
    for d in differences:
        print(
            f"output {d.output}: largest difference {d.absolute:.3g}, {d.relative:.3g} of the output's scale "
            f"({d.allowed:.3g} allowed)"
        )
    wrong = failures(differences)
    for line in wrong:
        print(f"{PROG}: {line}; nothing written", file=sys.stderr)
    return None if wrong else differences


def _print_remarks(optimized: Optimized) -> None:
    if any(report.remarks for report in optimized.reports):
        print()
    for report in optimized.reports:
        for remark in report.remarks:
            print(f"{report.name}: {remark}")


def _print_operators(model: ir.Model) -> None:
    from graph_passes.count import Cost, operators

    left = ", ".join(f"{count} {name}" for name, count in operators(model).most_common())
    cost = Cost.of(model)
    print(f"\nLeft: {left} ({cost.nodes} nodes, {amount(cost.macs)} multiply-adds)")


def _content(optimized: Optimized, differences: Sequence[Difference]) -> dict[str, Any]:
    from graph_passes.count import operators

    return {
        "passes": [report.to_json() for report in optimized.reports],
        "operators": dict(operators(optimized.ir_model)),
        "check": [dataclasses.asdict(difference) for difference in differences],
    }


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    """NAME:SIZE,...; the name may have colons itself."""
    name, _, sizes = text.rpartition(":")
    if not name or not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME:SIZE,... such as x:1,3,224,224")
    return name, tuple(map(int, sizes.split(",")))


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in PASSES:
            raise argparse.ArgumentTypeError(f"there is no pass {name!r}; choose from: {', '.join(PASSES)}")
    return names


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
