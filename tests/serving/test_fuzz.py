"""A short run of :mod:`tests.serving.fuzz`."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.serving.fuzz import run
from tests.serving.fuzz.totals import Totals

pytest.importorskip("onnxruntime")
pytest.importorskip("tritonclient")


def test_mutated_requests(tmp_path: Path) -> None:
    run.write_repository(tmp_path)
    totals = Totals()
    with run.started(tmp_path) as server:
        run.fuzz(server, 500, random.Random(1), totals)
        assert not run.ended(server)
    assert not totals.findings
    assert {kind for kind, count in totals.sent.items() if count} == {
        *("HTTP, bodies", "HTTP, whole requests", "gRPC, messages", "gRPC, streams", "gRPC, HTTP/2")
    }
    assert totals.answers["HTTP 200"]
    assert totals.answers["gRPC OK"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the program openssl makes the certificate")
def test_mutated_requests_by_tls(tmp_path: Path) -> None:
    run.write_repository(tmp_path / "repository")
    totals = Totals()
    with run.started_with_tls(tmp_path / "repository", tmp_path) as server:
        run.fuzz_tls(server, 50, random.Random(1), totals)
        assert not run.ended(server)
    assert not totals.findings
    assert {kind for kind, count in totals.sent.items() if count} == {
        *("HTTPS, bodies", "HTTPS, whole requests", "TLS, http", "TLS, grpc")
    }
