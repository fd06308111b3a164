"""One whole model on one number of threads, in our compiler and in other runtimes.

``python -m benchmarks.whole_models MODEL --threads N --json FILE [--records FILE] [--duration S]``

It is a separate process, pinned to its cores (``compiler.measure.isolated``). ``--onnx FILE`` writes the model that all
runtimes load and measures nothing; schedules can be searched for that file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks import models
from benchmarks.command import add_measuring, check_model, check_records
from benchmarks.whole_models.comparison import compare
from benchmarks.whole_models.implementations import frozen
from benchmarks.whole_models.measure import measure_model
from compiler.commands.command_line import Parser, add_version, at_least, exit_code
from compiler.measure import affinity


def main(argv: Sequence[str] | None = None) -> int:
    about = "Measures a whole model in our compiler and in other runtimes."
    parser = Parser(prog="python -m benchmarks.whole_models", description=about)
    add_version(parser)
    parser.add_argument("model", metavar="MODEL", choices=models.MODELS, help=f"one of {', '.join(models.MODELS)}")
    parser.add_argument("--threads", type=at_least(1), default=1, metavar="N", help="default: 1")
    add_measuring(parser, "implementation")
    about = "measure default schedules only, even if the file has tuned ones"
    parser.add_argument("--default-schedules", action="store_true", help=about)
    result = parser.add_mutually_exclusive_group(required=True)
    result.add_argument("--json", type=Path, metavar="FILE", help="file for the result")
    result.add_argument("--onnx", type=Path, metavar="FILE", help="write the model to this file and measure nothing")
    arguments = parser.parse_args(argv)

    def work() -> int:
        if arguments.onnx:
            return write(arguments.model, arguments.onnx)
        measuring = arguments.records, arguments.duration, arguments.default_schedules
        return run(arguments.model, arguments.threads, *measuring, arguments.json)

    return exit_code(parser, work)


def write(name: str, file: Path) -> int:
    """Writes a model with static shapes.

    Raises:
        ValueError: the model's package is missing.
        OSError: the file cannot be written.
    """
    check_model(name)
    file.write_bytes(frozen(name).SerializeToString())
    return 0


def run(name: str, threads: int, records: Path, duration: float, default_only: bool, json_file: Path) -> int:
    """Pins this process, measures a model and writes the result.

    Raises:
        ValueError: the model's package is missing, ``records`` is not a file of records, or too many threads.
        OSError: the file cannot be written.
        RuntimeError: an answer of ours is wrong, or ONNX Runtime is missing.
    """
    check_model(name)
    check_records(records)
    cores = affinity.pin(threads)
    result = {**measure_model(name, threads, records, duration, default_only), "cores": cores}
    json_file.write_text(json.dumps({**result, "summary": compare(result).to_json()}))
    return 0
