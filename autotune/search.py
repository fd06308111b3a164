"""The command line ``python -m autotune.search``: searches, shows how it goes, and hands over what was found.

Exit codes: 0 done, 1 a failure of its own, 2 a wrong argument or input, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from autotune.commands import model_command
from autotune.commands.arguments import Job, job, joined, parser
from autotune.commands.interrupt import held_interrupt
from autotune.commands.model_job import ModelJob, model_job
from autotune.commands.progress import progress
from autotune.commands.result import Limits, SearchResult, conditions, rows, table
from compiler.program import tvm_pair
from compiler.workloads.records import Record, Records
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

if TYPE_CHECKING:
    from autotune.searches.tuning import TuneResult


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    Raises:
        SystemExit: 2 after one line on standard error that says what is wrong; 0 after ``--help``.
    """
    command = parser()
    arguments = command.parse_args(joined(sys.argv[1:] if argv is None else argv))
    try:
        asked = model_job(arguments) if arguments.model else job(arguments)
        records = Records(asked.records)
        records.query(target=asked.target)  # a row that does not parse is found now
    except ValueError as error:
        command.error(str(error))
    except KeyboardInterrupt:  # to read a large model takes a while
        print("Interrupted; nothing was measured", file=sys.stderr)
        return 130
    with records:
        try:
            if isinstance(asked, ModelJob):
                model_command.run(asked, records)
            else:
                hand_over(asked, *search(asked, records))
        except KeyboardInterrupt:
            print(f"Interrupted; every finished measurement is kept in {asked.records}", file=sys.stderr)
            return 130
        except ValueError as error:
            if not isinstance(asked, ModelJob):
                raise
            command.error(" ".join(str(error).split()))  # a model that cannot be compiled, or is not on record
        except (ImportError, RuntimeError) as error:
            print(f"{command.prog}: {error}", file=sys.stderr)
            return 1
    return 0


def search(asked: Job, records: Records) -> tuple[Target, list[SearchResult]]:
    """Searches every workload on every backend. The target comes back with its measured figures."""
    from autotune.runners.local import Worker
    from autotune.searches.tuning import tune

    if "tvm" in asked.backends:
        tvm_pair.check()
    target = asked.target.measured()
    print(conditions(target), flush=True)
    results: list[SearchResult] = []
    with (
        held_interrupt() as interrupt,
        Worker(threads=target.num_cores) as worker,
        progress(asked.plan()) as shown,
    ):
        worker.start()

        def on_trial(record: Record) -> None:
            shown.trial(record.measurement)
            interrupt.raise_if_pressed()

        for workload in asked.workloads:
            limits = Limits.measured(workload, target)
            found: dict[str, TuneResult] = {}
            for backend in asked.backends:
                shown.start(limits)
                found[backend] = tune(
                    workload,
                    target,
                    backend,
                    asked.strategy,
                    asked.trials_on(backend),
                    asked.seed,
                    records,
                    fast_algorithms=asked.fast_algorithms,
                    on_trial=on_trial,
                    worker=worker,
                )
                shown.finish(found[backend].best.measurement.median_secs)
            # Whatever else the machine does can only lower a limit, so the higher of two is nearer to it.
            limits = limits.higher(Limits.measured(workload, target))
            results += [_result(workload, limits, backend, asked.strategy, found[backend]) for backend in found]
    return target, results


def _result(workload: Workload, limits: Limits, backend: str, strategy: str, found: TuneResult) -> SearchResult:
    return SearchResult(
        workload=workload,
        limits=limits,
        backend=backend,
        strategy=strategy,
        trials=found.trials,
        failures=found.failures,
        search_secs=found.search_secs,
        median_secs=found.best.measurement.median_secs,
        schedule=found.best.schedule,
        history=found.history,
    )


def hand_over(asked: Job, target: Target, results: Sequence[SearchResult]) -> None:
    """Prints the table, writes the files, and says where they are."""
    from autotune.commands.report import write_report

    print(f"\n{table(rows(results))}\n")
    if asked.json:
        content = {"target": target.to_json(), "results": [result.to_json() for result in results]}
        asked.json.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
        print(f"Results: {asked.json}")
    print(f"Records: {asked.records} (SQLite; the next search goes on from there)")
    print(f"Search curves and roofline: open {write_report(asked.report, target, results)} in a browser")


if __name__ == "__main__":
    sys.exit(main())
