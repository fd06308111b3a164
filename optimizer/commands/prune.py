"""``python -m optimizer prune``: removes channels of an ONNX model."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.commands.command_line import at_least, check_file
from compiler.commands.output import print_table, progress, write, write_json
from compiler.installation import extras
from optimizer.commands.options import add_records, number
from optimizer.prune import COSTS, IMPORTANCES, LEAST, STEP
from optimizer.torchrun import is_first

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from optimizer.fidelity import Fidelity
    from optimizer.plan import Latency, Plan
    from optimizer.pruning.groups import Group, Groups

MOST_COMPARED = 256  # samples
ABOUT = "removes channels of a model, without retraining"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("input", metavar="IN.onnx", type=Path, help="the model: an .onnx file, or a folder or zip archive with one")
    add("output", metavar="OUT.onnx", type=Path, help="the pruned model")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--ratio", type=number, metavar="R", help="the share of parameters to remove, between 0 and 1")
    about = "milliseconds of one run of the entire model, compiled by compiler.build and measured here"
    how.add_argument("--latency", type=number, metavar="MS", help=about)
    about = "share of the original's latency, between 0 and 1; both models are measured in turns"
    how.add_argument("--share", type=number, metavar="S", help=about)
    how.add_argument("--apply", type=Path, metavar="PLAN", help="remove the channels that a plan removes")
    about = "an .npz file, or a folder of .npy files: arrays by the names of the inputs; labels, if there are any"
    add("--data", metavar="DATA", type=Path, help=about)
    about = "what a channel is worth. " + "; ".join(f"{name}: {text}" for name, text in IMPORTANCES.items())
    add("--importance", choices=tuple(IMPORTANCES), metavar="NAME", help=about)
    about = "what a channel costs. " + "; ".join(f"{name}: {text}" for name, text in COSTS.items())
    add("--cost", choices=tuple(COSTS), default="kernels", metavar="NAME", help=f"{about} (default: kernels)")
    about = f"groups keep all channels, or a multiple of N (default: {STEP})"
    add("--step", type=at_least(1), default=STEP, metavar="N", help=about)
    about = f"the share of channels that each group keeps at least (default: {LEAST:g})"
    add("--least", type=number, default=LEAST, metavar="SHARE", help=about)
    add("--seed", type=at_least(0), default=0, metavar="N", help="of --importance random (default: 0)")
    add("--threads", type=at_least(1), default=1, metavar="N", help="threads of measured runs (default: 1)")
    add_records(parser)
    add("--measure", action="store_true", help="measure both models, here and in ONNX Runtime; --latency does so, too")
    add("--fixed", action="store_true", help="print the groups whose channels cannot be removed, with the reasons")
    add("--plan", type=Path, metavar="FILE", help="write which channels stay to FILE, for --apply")
    add("--json", type=Path, metavar="FILE", help="write the results to FILE")


def run(arguments: argparse.Namespace) -> int:
    extras.require("pruning a model", "optimizer")
    for path in (arguments.json, arguments.output, arguments.plan) if is_first() else ():
        check_file(path)
    import onnx

    from optimizer.data import read
    from optimizer.plan import Plan
    from optimizer.prune import prune
    from optimizer.pruning import groups
    from optimizer.pruning.prepared import prepared

    data = None if arguments.data is None else read(arguments.data)
    start = time.perf_counter()
    with progress("Pruning"):
        original = prepared(arguments.input)
        if arguments.apply is not None:
            plan = Plan.load(arguments.apply)
        else:
            plan = prune(
                arguments.input,
                arguments.ratio,
                arguments.latency,
                data,
                arguments.importance,
                arguments.cost,
                arguments.threads,
                arguments.step,
                arguments.least,
                arguments.seed,
                share=arguments.share,
                records=arguments.records,
            )
        pruned = plan.apply_prepared(original)
    seconds = time.perf_counter() - start
    if not is_first():  # the other processes have the same plan
        return 0
    write(arguments.output, lambda path: onnx.save(pruned, path))
    if arguments.plan is not None:
        write(arguments.plan, plan.save)
    measured = {}
    if arguments.measure or plan.latency is not None:
        from optimizer.pruning.comparison import compare

        with progress("Measuring"):
            measured = compare(original, pruned, arguments.threads)
    outputs = [] if data is None else _fidelities(original, pruned, data, arguments.threads)
    sizes = _sizes(original, pruned)
    found = groups.find(original)
    fixed = found.fixed
    _print(plan, found, arguments.fixed, sizes, measured, outputs)
    print(f"Pruned in {seconds:.1f} s")
    print(f"Saved: {arguments.output}")
    write_json(arguments.json, _json(arguments, plan, fixed, sizes, measured, outputs, seconds))
    return 0


def _sizes(original: onnx.ModelProto, pruned: onnx.ModelProto) -> dict[str, tuple[int | None, int | None]]:
    """Returns parameters and multiply-adds, before and after; None if they depend on sizes that vary."""
    import graph_passes

    (before,), (after,) = (
        graph_passes.optimize(model, passes=["fold_constants"]).reports for model in (original, pruned)
    )
    return {
        "parameters": (before.params_before, after.params_before),
        "multiply-adds": (before.macs_before, after.macs_before),
    }


def _fidelities(
    original: onnx.ModelProto, pruned: onnx.ModelProto, data: Mapping[str, np.ndarray], threads: int
) -> list[Fidelity]:
    """Returns how close the outputs on the samples come to those of the original."""
    from optimizer import samples
    from optimizer.fidelity import compared
    from optimizer.session import Session

    sessions = [Session(model, threads) for model in (original, pruned)]
    fitting = samples.fitting(data, original)
    runs = [[session(inputs) for session in sessions] for inputs in islice(fitting, -(-MOST_COMPARED // fitting.batch))]
    names = [name for name, value in runs[0][0].items() if value.dtype.kind == "f"]
    return [compared(name, ((before[name], after[name]) for before, after in runs)) for name in names]


def _print(
    plan: Plan,
    groups: Groups,
    with_fixed: bool,
    sizes: Mapping[str, tuple[int | None, int | None]],
    measured: Mapping[str, tuple[float, float]],
    outputs: list[Fidelity],
) -> None:
    rows = [
        (group.name, _channels(group, len(group)), _channels(group, len(kept.kept)))
        for group, kept in plan.matched(groups)
    ]
    print_table(("group", "channels", "kept"), rows, left=[0])
    if with_fixed and groups.fixed:
        print("Channels that cannot be removed:")
        rows = [(group.name, _channels(group, len(group)), str(group.fixed)) for group in groups.fixed]
        print_table(("group", "channels", "reason"), rows, left=[0, 2])
    rows = [
        (name, f"{before:,}", f"{after:,}", f"{after / before - 1:+.1%}")
        for name, (before, after) in sizes.items()
        if before and after
    ]
    rows += [
        (f"ms, {runtime}", f"{before * 1e3:.3f}", f"{after * 1e3:.3f}", f"{after / before - 1:+.1%}")
        for runtime, (before, after) in measured.items()
    ]
    print_table(("", "before", "after", "change"), rows, left=[0])
    if plan.latency is not None:
        print(_about(plan.latency))
    for each in outputs:
        same = "" if each.agreement is None else f", same largest element {each.agreement:.1%}"
        print(f"Output {each.output} on the samples: SQNR {each.sqnr_db:.1f} dB{same}")


def _channels(group: Group, count: int) -> str:
    """Returns a number of sets of channels, such as 12 x 32 for 12 heads of 32 channels."""
    return str(count) if group.size == 1 else f"{count} x {group.size}"


def _about(latency: Latency) -> str:
    return (
        f"Latency when the widths were chosen: {latency.after * 1e3:.3f} ms, predicted {latency.predicted * 1e3:.3f}, "
        f"original {latency.before * 1e3:.3f} ({latency.threads} threads)"
    )


def _json(
    arguments: argparse.Namespace,
    plan: Plan,
    fixed: tuple[Group, ...],
    sizes: Mapping[str, tuple[int | None, int | None]],
    measured: Mapping[str, tuple[float, float]],
    outputs: list[Fidelity],
    seconds: float,
) -> dict[str, Any]:
    return {
        "input": str(arguments.input),
        "output": str(arguments.output),
        "ratio": arguments.ratio,
        "latency": arguments.latency,
        "share": arguments.share,
        "importance": plan.importance,
        "cost": plan.cost,
        "seconds": seconds,
        "groups": [{"name": g.name, "channels": g.channels, "kept": len(g.kept)} for g in plan.groups],
        "fixed": [{"name": g.name, "channels": len(g), "reason": g.fixed} for g in fixed],
        **{name.replace("-", "_"): {"before": pair[0], "after": pair[1]} for name, pair in sizes.items()},
        "measured": [
            {"runtime": runtime, "threads": arguments.threads, "before": before, "after": after}
            for runtime, (before, after) in measured.items()
        ],
        "fitted": None if plan.latency is None else dict(vars(plan.latency)),
        "outputs": [each.to_json() for each in outputs],
    }
