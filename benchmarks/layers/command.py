"""One layer on one number of threads, in all implementations.

``python -m benchmarks.layers SHAPE --threads N --json FILE``

It is a separate process, because cores must be chosen before any thread pool starts, and a baseline that crashes must
not take the other shapes with it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.layers.groups import find
from benchmarks.layers.measure import SAMPLES, SLICE_SECS, measure
from compiler.commands.command_line import Parser, add_version, at_least, exit_code, seconds
from compiler.measure import affinity
from compiler.workloads.schedule import Schedule


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.layers", description="Measures one layer in all implementations.")
    add_version(parser)
    parser.add_argument("shape", help="a name that `pytest benchmarks --benchmark --bench-all --collect-only` lists")
    parser.add_argument("--threads", type=at_least(1), default=1, metavar="N", help="default: 1")
    parser.add_argument("--schedule", type=json.loads, metavar="JSON", help="a tuned schedule, measured as well")
    about = f"number of samples per implementation (default: {SAMPLES})"
    parser.add_argument("--samples", type=at_least(1), default=SAMPLES, metavar="N", help=about)
    about = f"seconds of one sample (default: {SLICE_SECS:g})"
    parser.add_argument("--slice-secs", type=seconds, default=SLICE_SECS, metavar="S", help=about)
    parser.add_argument("--no-baselines", action="store_true", help="measure our schedules alone")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="file for the result")
    arguments = parser.parse_args(argv)
    tuned = Schedule.from_json(arguments.schedule) if arguments.schedule else None
    return exit_code(
        parser,
        lambda: run(
            arguments.shape,
            arguments.threads,
            tuned,
            arguments.samples,
            arguments.slice_secs,
            not arguments.no_baselines,
            arguments.json,
        ),
    )


def run(
    name: str,
    threads: int,
    tuned: Schedule | None,
    samples: int,
    slice_secs: float,
    baselines: bool,
    json_file: Path,
) -> int:
    """Pins this process, measures a layer and writes the result.

    Raises:
        ValueError: there is no such shape, or this process may not use as many cores.
        OSError: the file cannot be written.
    """
    group, batch, shape = find(name)
    affinity.pin(threads)
    result = measure(group, shape, threads, tuned, samples, slice_secs, baselines)
    json_file.write_text(json.dumps({"batch": batch, **result}))
    return 0
