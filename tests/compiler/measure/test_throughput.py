"""``compiler.measure.throughput``: counts, statistics and errors. No test checks a time."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from compiler.measure.throughput import Slice, Stream, gain, measure, run_slice, summary


def test_the_requests_of_all_streams_are_in_flight_at_once() -> None:
    both = threading.Barrier(2, timeout=20)  # passes only if two threads wait
    passed: dict[int, int] = {}  # by thread

    def request() -> None:
        if threading.get_ident() not in passed:
            passed[threading.get_ident()] = both.wait()

    found = run_slice([Stream(request), Stream(request)], 0.0)
    assert sorted(passed.values()) == [0, 1]
    assert len(found.latencies) == 2  # one of each, the warm-up is not counted
    assert found.joules is None


@pytest.mark.parametrize("error", [KeyError, threading.BrokenBarrierError])  # the second is used by measuring itself
def test_an_error_of_a_stream_ends_the_others(error: type[Exception]) -> None:
    def fail() -> None:
        raise error("no")

    with pytest.raises(error, match="no"):
        run_slice([Stream(lambda: None), Stream(fail)], 0.0)


def test_statistics() -> None:
    slices = [Slice((1.0, 3.0), 2.0, 10.0), Slice((2.0, 2.0), 2.0, 30.0)]
    found = summary(slices)
    assert (found.count, found.duration, found.rate, found.joules) == (4, 4.0, 1.0, 10.0)
    assert (found.median, found.average, found.min, found.max) == (2.0, 2.0, 1.0, 3.0)
    assert found.p90 == np.percentile([1, 2, 2, 3], 90)
    assert summary([slices[0], Slice((1.0,), 1.0, None)]).joules is None


def test_the_gain_is_the_ratio_of_the_rates() -> None:
    fast, slow = [Slice((0.5,) * 4, 1.0, None)] * 3, [Slice((0.5,) * 2, 1.0, None)] * 3
    found = gain(fast, slow)
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="different numbers of rounds: 3 of ours, 2 of the other"):
        gain(fast, slow[:2])


def test_each_implementation_has_a_slice_per_round() -> None:
    parts: list[float] = []
    found = measure({name: [Stream(lambda: None)] for name in "ab"}, 0.0, 2, progress=parts.append)
    assert {name: len(slices) for name, slices in found.items()} == {"a": 2, "b": 2}
    assert parts[-1] == 1
    with pytest.raises(ValueError, match="at least one round"):
        measure({"a": []}, 0.0, 1)
