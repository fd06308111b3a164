"""Which series /metrics has, and what they count."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.serving.client import Server

_OF_VERSIONS = ("loopwright_queue_seconds_count", "loopwright_request_seconds_count", "loopwright_requests_total")
_OF_INSTANCES = (
    "loopwright_compute_seconds_count",
    "loopwright_batch_items_count",
    "loopwright_instance_busy_seconds_total",
    "loopwright_instance_cores",
)


def test_series_of_instances(add_version: Callable[..., Path], start: Callable[..., Server], tmp_path: Path) -> None:
    add_version(1)
    (tmp_path / "repository" / "affine" / "config.toml").write_text("threads = 1\ninstances = 2\n")
    server = start()
    for _ in range(5):
        server.scale()
    for name in _OF_VERSIONS:
        [(labels, count)] = server.series(name)
        assert labels == {"model": "affine", "version": "1"} | ({"code": "OK"} if "requests" in name else {})
        assert count == 5
    for name in _OF_INSTANCES:
        series = server.series(name)
        assert sorted(labels["instance"] for labels, _ in series) == ["0", "1"], name
        assert {(labels["model"], labels["version"]) for labels, _ in series} == {("affine", "1")}
        if name.endswith("_count"):
            assert sum(count for _, count in series) == 5
    assert [cores for _, cores in server.series("loopwright_instance_cores")] == [1, 1]
    busy, compute = (
        {labels["instance"]: secs for labels, secs in server.series(name)}
        for name in ("loopwright_instance_busy_seconds_total", "loopwright_compute_seconds_sum")
    )
    assert all(busy[instance] >= secs for instance, secs in compute.items())
    assert sum(compute.values()) > 0
    page = server.request("GET", "/", port="metrics").body.decode()
    [cpus] = [labels["cpus"] for labels, _ in server.series("loopwright_instance_cores") if labels["instance"] == "1"]
    assert f'<td class="n">1</td><td class="n">1</td><td>{cpus}</td>' in page


def test_series_end_with_their_version(
    add_version: Callable[..., Path], start: Callable[..., Server], tmp_path: Path
) -> None:
    """A server that loads versions for months must not keep the series of them all."""
    add_version(1)
    server = start()
    server.infer([[1]])  # an error
    assert {labels["code"] for labels, _ in server.series("loopwright_requests_total")} == {"OK", "INVALID_ARGUMENT"}

    def versions() -> set[str]:
        return {labels["version"] for name in (*_OF_VERSIONS, *_OF_INSTANCES) for labels, _ in server.series(name)}

    assert versions() == {"1"}
    add_version(2)
    server.wait_until(lambda: versions() == {"2"})
    shutil.rmtree(tmp_path / "repository" / "affine")
    server.wait_until(lambda: not versions())


def test_rejections(start: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "repository" / "empty").mkdir(parents=True)
    server = start()
    assert server.infer([[1]], "empty").status == 503
    connection = server.connect()
    connection.putrequest("POST", "/v2/models/empty/infer")
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    assert server.infer([[1]], "unknown").status == 404  # an error, no rejection

    def rejections() -> dict[tuple[str, str], float]:
        series = server.series("loopwright_rejection_seconds_count")
        return {(labels["protocol"], labels["reason"]): count for labels, count in series if count}

    server.wait_until(lambda: rejections() == {("http", "not_ready"): 1, ("http", "limit"): 1})
    sums = server.series("loopwright_rejection_seconds_sum")
    assert all((secs > 0) == ((labels["protocol"], labels["reason"]) in rejections()) for labels, secs in sums)
