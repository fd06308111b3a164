"""A short run of :mod:`tests.serving.fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving import fuzz

pytest.importorskip("onnxruntime")
pytest.importorskip("tritonclient")


def test_mutated_requests(tmp_path: Path) -> None:
    fuzz.write_repository(tmp_path)
    with fuzz.started(tmp_path) as server:
        totals = fuzz.fuzz(server, 500, seed=1)
        assert not totals.findings
        assert {kind for kind, count in totals.sent.items() if count} == {
            *("HTTP, bodies", "HTTP, whole requests", "gRPC, messages", "gRPC, HTTP/2")
        }
        assert totals.answers["HTTP 200"]
        assert totals.answers["gRPC OK"]
        assert not fuzz.ended(server)
