"""The command line ``python -m graph_passes``: an ONNX model in, an optimized ONNX model out.

Exit codes: 0 success, 1 failure (for example a wrong output under ``--check``), 2 wrong argument or input.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from graph_passes import DEFAULT_PASSES, FOR_TVM, PASSES, Optimized, Pass, optimize
from graph_passes.report import amount, table

if TYPE_CHECKING:
    from graph_passes.check import Difference
    from graph_passes.lazy import ir

PROG = "python -m graph_passes"
IMPORTERS: Mapping[str, Sequence[Pass]] = {"tvm": FOR_TVM}


class Parser(argparse.ArgumentParser):
    """Reports an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


class _Version(argparse.Action):
    """Prints the version of the distribution. Its metadata is read only on request."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib import metadata

        try:
            version = metadata.version("loopwright")
        except metadata.PackageNotFoundError:
            version = "(not installed)"
        print(f"loopwright {version}")
        parser.exit(0)


def parser() -> Parser:
    """Returns the parser of the command line; fields of passes with a help text become options."""
    parser = Parser(
        prog=PROG,
        description="Rewrites an ONNX model into one that computes the same outputs with less work.",
        epilog="Exit codes: 0 success, 1 failure, 2 wrong argument or input.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    about = "the model to optimize: an .onnx file, or a folder or zip archive with one .onnx file and its external data"
    add("input", metavar="IN.onnx", type=Path, help=about)
    about = "the optimized model; weights over 2 GiB or from external data are written to OUT.onnx.data"
    add("output", metavar="OUT.onnx", type=Path, help=about)
    add(
        "--input-shape",
        action="append",
        default=[],
        type=_shape,
        metavar="NAME:SIZE,...",
        help="the shape of an input with dynamic dimensions, such as x:1,3,224,224; may be repeated",
    )
    default = ",".join(a_pass.name for a_pass in DEFAULT_PASSES)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--passes",
        type=_names,
        metavar="NAME,...",
        help=f"the passes to run, in this order, from: {', '.join(PASSES)} (default: {default})",
    )
    chosen.add_argument(
        "--for",
        dest="importer",
        choices=tuple(IMPORTERS),
        help="the passes after which an importer accepts the model: tvm is TVM's own ONNX importer, docs/tvm.md",
    )
    chosen.add_argument(
        "--skip", type=_default_names, default=[], metavar="NAME,...", help="passes to omit from the default"
    )
    add("--check", action="store_true", help="compare outputs in ONNX Runtime; write nothing if they differ")
    add("--each", action="store_true", help="also write the model after each pass: OUT.1.freeze_shapes.onnx, ...")
    add("--verbose", action="store_true", help="print what each pass chose, and why it did not rewrite something")
    add("--json", type=Path, metavar="FILE", help="write what each pass changed to FILE")
    add("--version", action=_Version, nargs=0, help="print the version and exit")
    for a_pass in PASSES.values():
        _add_parameters(parser, a_pass)
    return parser


def _add_parameters(parser: argparse.ArgumentParser, a_pass: type[Pass]) -> None:
    """Adds an option for each field of a pass that has a help text."""
    fields = [field for field in dataclasses.fields(a_pass) if "help" in field.metadata]
    if not fields:
        return
    group = parser.add_argument_group(f"parameters of {a_pass.name}")
    for field in fields:
        flag, about = f"--{a_pass.name}-{field.name}".replace("_", "-"), field.metadata["help"]
        # An option that is not given has no value: passes may differ from the defaults, as those of --for do.
        common: dict[str, Any] = {"dest": f"{a_pass.name}.{field.name}", "default": argparse.SUPPRESS}
        if isinstance(field.default, bool):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, help=about, **common)
        else:
            group.add_argument(flag, type=_positive, metavar="N", help=f"{about} (default: {field.default})", **common)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    Raises:
        SystemExit: With code 2 after one line on standard error, or 0 after ``--help`` and ``--version``.
    """
    command = parser()
    arguments = command.parse_args(argv)
    for path, replaced in ((arguments.output, True), (arguments.json, False)):
        if path is not None and (obstacle := _obstacle(path, replaced)):
            command.error(f"cannot write {path}: {obstacle}")
    shapes = dict(arguments.input_shape)
    for name in shapes:
        if [given for given, _ in arguments.input_shape].count(name) > 1:
            command.error(f"--input-shape gives {name} twice")
    passes = _passes(arguments, vars(arguments))
    after_pass = partial(_write_step, arguments.output) if arguments.each else None
    try:
        optimized = optimize(arguments.input, shapes, passes, after_pass)
    except (ValueError, OSError) as error:
        command.error(" ".join(str(error).split()))
    except (ImportError, RuntimeError) as error:
        print(f"{PROG}: {error}", file=sys.stderr)
        return 1
    print(table(optimized.reports))
    if arguments.verbose:
        _print_remarks(optimized)
    _print_operators(optimized.ir_model)
    try:
        differences = _compared(arguments.input, optimized.ir_model) if arguments.check else []
        wrong = [difference for difference in differences if not difference.ok]
        if wrong:
            return 1
        _write(arguments.output, optimized.save)
        if arguments.json:
            content = json.dumps(_content(optimized, differences), indent=2, allow_nan=False) + "\n"
            _write(arguments.json, lambda path: path.write_text(content))
    except ValueError as error:
        command.error(str(error))
    except (OSError, ImportError, RuntimeError) as error:
        print(f"{PROG}: {error}", file=sys.stderr)
        return 1
    print(f"Written: {arguments.output}")
    return 0


def _obstacle(path: Path, replaced: bool) -> str | None:
    """Returns why a file cannot be written, as far as that is visible before; None if nothing is in the way.

    If it is ``replaced``, that is by a new file in its folder, except for a device such as /dev/null.
    """
    if not path.absolute().parent.is_dir():
        return f"there is no folder {path.parent}"
    if path.is_dir():
        return "it is a folder"
    place = path if path.exists() and not (replaced and path.is_file()) else path.absolute().parent
    return None if os.access(place, os.W_OK) else f"no permission to write to {place}"


def _write(path: Path, write_to: Callable[[Path], object]) -> None:
    """Writes a file that ``_obstacle`` permits.

    Raises:
        RuntimeError: it cannot be written; the error of the system may name a temporary file.
    """
    try:
        write_to(path)
    except OSError as error:
        raise RuntimeError(f"cannot write {path}: {error.strerror or error}") from None


def _passes(arguments: argparse.Namespace, options: Mapping[str, Any]) -> list[Pass]:
    """Returns the passes to run. ``options`` has their parameters by ``pass.field``; other keys are ignored."""
    parameters: dict[str, dict[str, Any]] = {name: {} for name in PASSES}
    for key, value in options.items():
        name, _, field = key.partition(".")
        if field:
            parameters[name][field] = value
    if arguments.importer:
        chosen = IMPORTERS[arguments.importer]
    elif arguments.passes:
        chosen = [PASSES[name]() for name in arguments.passes]
    else:
        chosen = [p for p in DEFAULT_PASSES if p.name not in arguments.skip]
    return [dataclasses.replace(p, **parameters[p.name]) for p in chosen]


def _write_step(output: Path, index: int, a_pass: Pass, model: ir.Model) -> None:
    """Writes the model after one pass to a file next to ``output``."""
    from graph_passes.model_io import write

    _write(output.with_name(f"{output.stem}.{index + 1}.{a_pass.name}.onnx"), partial(write, model))


def _compared(original: Path, optimized: ir.Model) -> list[Difference]:
    """Returns the difference of each output, and prints all of them and those that are too large."""
    from graph_passes.check import compare, failures

    differences = compare(original, optimized)
    for d in differences:
        print(
            f"output {d.output}: largest difference {d.absolute:.3g}, {d.relative:.3g} of the output's scale "
            f"({d.allowed:.3g} allowed)"
        )
    for line in failures(differences):
        print(f"{PROG}: {line}; nothing written", file=sys.stderr)
    return differences


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
    """Parses NAME:SIZE,...; the name may contain colons."""
    name, _, sizes = text.rpartition(":")
    if not name or not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:SIZE,... such as x:1,3,224,224")
    return name, tuple(map(int, sizes.split(",")))


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in PASSES:
            raise argparse.ArgumentTypeError(f"there is no pass {name!r}; choose from: {', '.join(PASSES)}")
    return names


def _default_names(text: str) -> list[str]:
    default = [a_pass.name for a_pass in DEFAULT_PASSES]
    for name in (names := _names(text)):
        if name not in default:
            raise argparse.ArgumentTypeError(f"{name} is not one of the default passes: {', '.join(default)}")
    return names


def _positive(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
