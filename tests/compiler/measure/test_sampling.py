"""Interleaved sampling of implementations with known behavior. No test checks a time that depends on the machine."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from compiler.measure import sampling
from compiler.measure.sampling import Samples, measure, measure_loops


def changes(calls: list[str]) -> list[str]:
    """The calls without those that repeat the one before."""
    return [name for name, before in zip(calls, [None, *calls], strict=False) if name != before]


def test_each_implementation_has_a_slice_in_each_round_and_untimed_runs_before_it() -> None:
    calls: list[str] = []
    measured = measure({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, duration=0.02, rounds=4)
    assert list(measured) == ["a", "b"]
    slices = changes(calls)
    assert slices.count("a") + slices.count("b") <= 8  # adjacent slices of one name count as one here
    for name, of_one in measured.items():
        assert len(of_one.rounds) == 4
        assert all(len(secs) >= 1 for secs in of_one.rounds)
        assert of_one.latencies.duration >= 0.02
        assert calls.count(name) >= of_one.latencies.count + 4


def test_the_order_of_a_round_is_random_and_seeded() -> None:
    def order(seed: int) -> list[str]:
        calls: list[str] = []
        measure({name: lambda name=name: calls.append(name) for name in "abc"}, 0, rounds=6, seed=seed)
        return changes(calls)

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_an_implementation_runs_once_per_round_even_for_a_duration_of_zero() -> None:
    assert measure({"a": lambda: None}, duration=0, rounds=10)["a"].latencies.count == 10


def test_progress_ends_at_one() -> None:
    shown: list[float] = []
    measure({"a": lambda: None, "b": lambda: None}, duration=0, rounds=2, progress=shown.append)
    assert shown == [0.25, 0.5, 0.75, 1.0]


def test_an_error_of_an_implementation_is_raised() -> None:
    def fails() -> None:
        raise RuntimeError("no answer")

    with pytest.raises(RuntimeError, match="no answer"):
        measure({"a": fails}, duration=0)


@pytest.mark.parametrize(
    ("duration", "rounds", "message"),
    [(1.0, 0, "rounds"), (-1.0, 1, "duration"), (math.inf, 1, "duration"), (math.nan, 1, "duration")],
)
def test_invalid_arguments_are_rejected(duration: float, rounds: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure({"a": lambda: None}, duration, rounds)
    with pytest.raises(ValueError, match="nothing to measure"):
        measure({}, 1.0)


def test_latencies_of_known_samples() -> None:
    latencies = Samples(((1.0, 2.0), (3.0, 4.0, 10.0))).latencies
    assert (latencies.count, latencies.duration, latencies.median) == (5, 20.0, 3.0)
    assert (latencies.average, latencies.min, latencies.throughput) == (4.0, 1.0, 0.25)
    assert latencies.p90 == pytest.approx(7.6)
    assert latencies.median < latencies.p90 < latencies.p99 < 10.0


def scripted(secs: float, calls: list[tuple[str, int, int]], name: str = "") -> Callable[[int, int], list[float]]:
    """A loop whose runs take the given seconds each."""

    def loop(number: int, repeat: int) -> list[float]:
        calls.append((name, number, repeat))
        return [secs] * repeat

    return loop


def test_a_sample_of_a_loop_lasts_about_a_slice_and_follows_untimed_runs() -> None:
    calls: list[tuple[str, int, int]] = []
    measured = measure_loops({"a": scripted(1e-5, calls), "slow": scripted(1.0, [])}, rounds=3, slice_secs=4e-3)
    assert measured["a"] == Samples(((1e-5,),) * 3)
    assert measured["slow"] == Samples(((1.0,),) * 3)
    assert calls == [("", 1, 5)] + [("", 100, 1), ("", 400, 1)] * 3


def test_loops_take_turns_in_random_order() -> None:
    calls: list[tuple[str, int, int]] = []
    measure_loops({name: scripted(1e-3, calls, name) for name in "abc"}, rounds=6, slice_secs=1e-3)
    order = [name for name, _, repeat in calls if repeat == 1][::2]
    rounds = ["".join(order[start : start + 3]) for start in range(0, 18, 3)]
    assert {"".join(sorted(of_round)) for of_round in rounds} == {"abc"}
    assert len(set(rounds)) > 1


def test_loops_wait_for_threads_and_calls_do_so_for_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> None:
        raise TimeoutError("threads kept spinning")

    monkeypatch.setattr(sampling, "wait_until_idle", never)
    with pytest.raises(TimeoutError, match="kept spinning"):
        measure_loops({"a": scripted(1e-3, [])}, rounds=1, slice_secs=1e-3)
    assert measure({"a": lambda: None}, duration=0, rounds=1)["a"].latencies.count == 1
