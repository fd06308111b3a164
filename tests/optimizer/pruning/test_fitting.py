"""The loop of choosing and measuring, with a machine that is simulated; and tables of a real compiled model."""

from __future__ import annotations

import importlib
from pathlib import Path

import onnx
import pytest

import compiler
from compiler.spaces import space
from compiler.workloads.database import Records
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from optimizer.plan import Latency
from optimizer.prune import Problem
from optimizer.pruning import fitting, kernel_times
from optimizer.pruning.kernel_times import KernelTimes
from optimizer.pruning.prepared import prepared
from tests.optimizer.networks import network
from tests.optimizer.pruning.attentions import HEADS, HIDDEN, layer


def problem(model: onnx.ModelProto | None = None) -> Problem:
    module = importlib.import_module("optimizer.prune")  # the name of the package's function, too
    return module.problem_of(prepared(model or network()), None, "magnitude", 1, 1, 0.1, 0)


def _fitted(cost: str, limit: fitting.Limit) -> tuple[tuple[int, ...], Latency]:
    given = problem()
    return fitting.fitted(given, fitting.predictor(given, cost, 1), limit, 1)


class Simulated:
    """Turns of models whose seconds are a share of overhead and the rest of their size."""

    def __init__(self, original: onnx.ModelProto) -> None:
        self.original, self.quiet = original, 2e-3

    def alone(self) -> float:
        return self.quiet

    def share(self, other: onnx.ModelProto) -> float:
        return 0.2 + 0.8 * other.ByteSize() / self.original.ByteSize()


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "compiled", lambda model, _threads: model)
    monkeypatch.setattr(fitting, "Turns", Simulated)


@pytest.mark.usefixtures("simulated")
@pytest.mark.parametrize("limit", [1.9e-3, 1.6e-3])
def test_the_limit_holds_and_is_used(limit: float) -> None:
    """The cost, parameters alone, is wrong at first: it leaves out the overhead."""
    widths, latency = _fitted("parameters", fitting.Limit(limit))
    assert 0.9 * limit <= latency.after <= limit
    assert latency.before == 2e-3
    assert widths != (8, 16)


@pytest.mark.usefixtures("simulated")
def test_the_least_latency_is_named() -> None:
    with pytest.raises(ValueError, match=r"^no widths reach 0.5 ms: the least is \S+ ms, .* the original takes 2 ms$"):
        _fitted("macs", fitting.Limit(5e-4))


@pytest.mark.tvm
def test_tables_explain_the_compiled_model() -> None:
    given = problem()
    kept = (8, 16)
    times = KernelTimes(given.layers, (1, 2), kept)
    built = compiler.build(given.model, threads=1)
    times.correct(given.model, built, kept, 1.0)
    price = times.cost()
    assert price(kept) == pytest.approx(1.0)
    assert price((1, 2)) <= 1.0 + 1e-9
    found = {group for term in price.terms for group in term.groups}
    assert found == {0, 1}
    assert len(price.terms) == 1 + len(given.layers), "a term per layer, and one for the rest"


def test_the_time_of_an_attention_follows_its_heads() -> None:
    given = problem(layer("separate", with_position=False))
    kept = (HEADS, HIDDEN)
    times = KernelTimes(given.layers, (1, 1), kept, products=given.products)
    times.correct(given.model, compiler.build(given.model, threads=1), kept, 1.0)
    price = times.cost()
    assert price(kept) == pytest.approx(1.0)
    scores, values = given.products
    parts = [term for term in price.terms if term.widths in ((scores.parts,), (values.parts,))]
    assert len(parts) == 2
    for term in parts:
        assert term((1, HIDDEN)) == pytest.approx(term(kept) / HEADS)


def test_without_a_measurement() -> None:
    with pytest.raises(RuntimeError, match="no compiled model has been measured"):
        KernelTimes((), (), ()).cost()


@pytest.mark.usefixtures("simulated")
def test_a_share_of_the_latency() -> None:
    """It is of what the original takes, whatever that is."""
    _, latency = _fitted("parameters", fitting.Limit(share=0.8))
    assert 0.72 <= latency.after / latency.before <= 0.8
    with pytest.raises(fitting.TooSlowError, match=r"^no widths reach 0\.1 of the latency: the least is"):
        _fitted("parameters", fitting.Limit(share=0.1))


def test_kept_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel is measured once; what a records file has is not measured again."""
    workload, target = Workload("dense", (4, 32, 16)), Target.from_host(num_cores=1)
    file = tmp_path / "records.sqlite"
    first = kernel_times.seconds(workload, target, file)
    monkeypatch.setattr(kernel_times, "_samples", lambda *_: pytest.fail("it was measured again"))
    assert kernel_times.seconds(workload, target, file) == first
    with Records(file) as kept:
        (record,) = kept.query(workload, target)
    assert min(record.measurement.run_secs) == first
    assert record.schedule == space(workload, target).default()
    (tmp_path / "other").write_text("text")
    with pytest.raises(ValueError, match="is not a records file"):
        kernel_times.seconds(workload, target, tmp_path / "other")
