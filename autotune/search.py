"""The command line ``python -m autotune.search``, and :func:`tune`, the search of one workload as a function.

Exit codes: 0 success, 1 failure, 2 invalid argument or input, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from autotune import backends, strategies
from autotune.commands import graph_command, model_command, operator_command
from autotune.commands.arguments import joined, operator_options, parser
from autotune.commands.model_options import ModelOptions, model_options
from compiler.workloads.database import Records
from compiler.workloads.records import Record
from compiler.workloads.schedule import ScheduleSpace
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

if TYPE_CHECKING:
    from autotune.runners.runner import Runner
    from autotune.searches.tuning import TuneResult


def tune(
    workload: Workload,
    target: str | Target = "host",
    backend: str = "kernel",
    strategy: str = "rl",
    trials: int = 64,
    seed: int = 0,
    records: str | os.PathLike[str] | Records | None = None,
    *,
    threads: int = 1,
    fast_algorithms: bool = True,
    on_trial: Callable[[Record], None] | None = None,
    runner: Runner | None = None,
    space: ScheduleSpace | None = None,
    winograd: None = None,
) -> TuneResult:
    """Searches for a fast schedule of a workload. See :func:`autotune.searches.tuning.search_workload`.

    Args:
        workload: the operator and its sizes.
        target: a target, or a name for :meth:`Target.named`.
        backend: one of ``autotune.backends.BACKENDS``.
        strategy: a key of ``autotune.strategies.STRATEGIES``.
        trials: the number of schedules to measure, in addition to those in ``records``.
        seed: with the same seed, records and measurements, the same schedules are proposed.
        records: a file, which is created if necessary, or an open one. None stores nothing.
        threads: the number of cores if ``target`` is a name. A :class:`Target` has its own.
        fast_algorithms: whether schedules may use Winograd's or Strassen's algorithm, which round more than a sum does.
        on_trial: called with each record as soon as it is stored.
        runner: measures the schedules and stays open. By default a runner on this machine.
        space: the schedules. By default those of ``backend``.
        winograd: the former name of ``fast_algorithms``; must not be given.

    Raises:
        TypeError: ``winograd`` is given.
        ValueError: an unknown target, backend or strategy, trials below 1, or an unusable records file.
        ModuleNotFoundError: a package of the extra ``search`` is missing.
        RuntimeError: nothing has succeeded, now or earlier; the message has the most frequent reason.
    """
    if winograd is not None:
        raise TypeError("tune() has no argument 'winograd'; use 'fast_algorithms'")
    strategies.require(strategy)
    from autotune.runners.local import LocalRunner
    from autotune.searches.tuning import search_workload

    if not isinstance(target, Target):
        target = Target.named(target, num_cores=threads)
    if space is None:
        space = backends.space(backend, workload, target, fast_algorithms)
    with ExitStack() as opened:
        store = opened.enter_context(Records(records)) if isinstance(records, str | os.PathLike) else records
        runner = runner or opened.enter_context(LocalRunner())
        return search_workload(space, runner, strategy, trials, seed, store, on_trial)


def main(argv: Sequence[str] | None = None, runner: Runner | None = None) -> int:
    """Runs the command line and returns its exit code.

    Args:
        argv: the arguments; by default those of the process.
        runner: measures the schedules; by default a runner on this machine.

    Raises:
        SystemExit: 2 after one line on standard error that names the problem; 0 after ``--help`` and ``--version``.
    """
    command = parser()
    arguments = command.parse_args(joined(sys.argv[1:] if argv is None else argv))
    try:
        options = model_options(arguments) if arguments.model else operator_options(arguments)
        records = Records(options.records)
        records.query(target=options.target)  # reports a row that does not parse before anything is measured
    except ValueError as error:
        command.error(str(error))
    except ImportError as error:
        print(f"{command.prog}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # reading a large model takes a while
        print("Interrupted; nothing was measured", file=sys.stderr)
        return 130
    from autotune.runners.local import LocalRunner

    with records, ExitStack() as opened:
        runner = runner or opened.enter_context(LocalRunner())
        try:
            if not arguments.graph:
                strategies.require(options.strategy)
            if not isinstance(options, ModelOptions):
                operator_command.run(options, records, runner)
            elif options.graph:
                graph_command.run(options, records)
            else:
                model_command.run(options, records, runner)
        except KeyboardInterrupt:
            print(f"Interrupted; every finished measurement is stored in {options.records}", file=sys.stderr)
            return 130
        except ValueError as error:
            if not isinstance(options, ModelOptions):
                raise
            command.error(" ".join(str(error).split()))  # a model that cannot be compiled or has no records
        except (ImportError, RuntimeError) as error:
            print(f"{command.prog}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
