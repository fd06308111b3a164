"""MLCommons LoadGen (MLPerf Inference) over functions that compute one sample: performance mode, its own figures."""

from __future__ import annotations

import json
import math
import os
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from compiler.measure.throughput import Stream

SCENARIOS = ("SingleStream", "Offline", "Server")
TRIALS = 7  # of a search
_MARK = ":::MLLOG "
_LOG = "mlperf_log_detail.txt"
# What LoadGen calls the result of each scenario.
METRICS = {
    "SingleStream": "result_90.00_percentile_latency_ns",
    "Offline": "result_samples_per_second",
    "Server": "result_completed_samples_per_sec",
}
Figures: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True)
class Trial:
    """One run of LoadGen.

    Attributes:
        scenario: a name of ``SCENARIOS``.
        rate: the target of Server and the expectation of Offline, in samples per second.
        figures: what LoadGen logged, by its own keys.
    """

    scenario: str
    rate: float
    figures: Figures

    @property
    def valid(self) -> bool:
        return self.figures.get("result_validity") == "VALID"

    @property
    def metric(self) -> float:
        """The scenario's result: nanoseconds in SingleStream, otherwise samples per second."""
        return float(self.figures[METRICS[self.scenario]])


def run(
    scenario: str, streams: Sequence[Stream], secs: float, rate: float, latency_bound: float, folder: Path
) -> Trial:
    """Runs LoadGen once.

    Args:
        scenario: a name of ``SCENARIOS``.
        streams: each computes one sample at a time, in a separate thread.
        secs: the least duration.
        rate: see :class:`Trial`; unused in SingleStream.
        latency_bound: seconds that 99 % of the samples of Server may take; unused otherwise.
        folder: an existing folder for LoadGen's logs.

    Raises:
        ImportError: LoadGen is not installed.
        RuntimeError: LoadGen wrote no result.
        Exception: the first error of a sample.
    """
    import mlperf_loadgen as untyped

    loadgen: Any = untyped
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, scenario)
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = max(1, round(secs * 1e3))
    if scenario == "Offline":
        settings.offline_expected_qps = rate
    if scenario == "Server":
        settings.server_target_qps = rate
        settings.server_target_latency_ns = round(latency_bound * 1e9)
    output = loadgen.LogOutputSettings()
    output.outdir = str(folder)
    output.copy_summary_to_stdout = False
    log = loadgen.LogSettings()
    log.log_output = output
    log.enable_trace = False

    def complete(identity: int) -> None:
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(identity, 0, 0)])

    with _Workers(streams, complete) as workers:
        system = loadgen.ConstructSUT(lambda samples: workers.add([each.id for each in samples]), lambda: None)
        library = loadgen.ConstructQSL(1, 1, lambda _: None, lambda _: None)
        try:
            loadgen.StartTestWithLogSettings(system, library, settings, log)
        finally:
            loadgen.DestroyQSL(library)
            loadgen.DestroySUT(system)
    if workers.errors:
        raise workers.errors[0]
    return Trial(scenario, rate, figures((folder / _LOG).read_text()))


def figures(log: str) -> Figures:
    """Returns the results in LoadGen's detailed log by their keys.

    Raises:
        RuntimeError: the log has no results.
    """
    entries = [json.loads(line.removeprefix(_MARK)) for line in log.splitlines() if line.startswith(_MARK)]
    kept = [each for each in entries if each["key"].startswith(("result_", "early_stopping_"))]
    found = {each["key"]: each["value"] for each in kept if each["value"] != ""}  # a reason may follow as an empty line
    if "result_validity" not in found:
        raise RuntimeError("LoadGen wrote no result")
    return found


def largest_valid(estimate: float, trial: Callable[[float], Trial], trials: int = TRIALS) -> list[Trial]:
    """Searches the largest valid rate of Server, and returns all trials in order.

    Starts at three quarters of ``estimate``, the rate of streams that are always busy. That is measured in a short time
    and may be too low, so the rate grows by a quarter until a trial is invalid. Then it is bisected.
    """
    low, high, rate = 0.0, math.inf, estimate * 0.75
    found: list[Trial] = []
    for _ in range(trials):
        found.append(trial(rate))
        low, high = (rate, high) if found[-1].valid else (low, rate)
        rate = (low + high) / 2 if high < math.inf else low * 1.25
    return found


def is_bounded(trials: Sequence[Trial]) -> bool:
    """Returns whether a trial was invalid. Otherwise the largest valid rate may be higher than all of them."""
    return not all(each.valid for each in trials)


def best(trials: Sequence[Trial]) -> Trial:
    """Returns the valid trial of the largest rate, or the last trial if none is valid."""
    return max((each for each in trials if each.valid), key=lambda each: each.rate, default=trials[-1])


class _Workers:
    """One thread per stream. They take samples from one queue, in order."""

    def __init__(self, streams: Sequence[Stream], complete: Callable[[int], None]) -> None:
        self.errors: list[BaseException] = []
        self._complete = complete
        self._samples: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, args=(stream,)) for stream in streams]

    def add(self, samples: Sequence[int]) -> None:
        for sample in samples:
            self._samples.put(sample)

    def __enter__(self) -> _Workers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for _thread in self._threads:
            self._samples.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self, stream: Stream) -> None:
        try:
            if stream.cores:
                os.sched_setaffinity(0, stream.cores)
        except OSError as error:
            self.errors.append(error)
        while (sample := self._samples.get()) is not None:
            try:
                if not self.errors:
                    stream.run()
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                self.errors.append(error)
            self._complete(sample)  # also after an error, because LoadGen waits for every sample
