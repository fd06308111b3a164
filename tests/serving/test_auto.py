"""``instances = "auto"``: instances and threads are chosen by measurement, which is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.client import Server
from tests.serving.models import affine, write_version

Start = Callable[..., Server]
AUTO = 'runtime = "onnxruntime"\ninstances = "auto"\n'


def test_the_choice_is_kept_and_served(start: Start, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    write_version(repository / "affine" / "1", affine(1), AUTO)
    server = start()
    reason = server.wait_for_state(1, "READY")
    assert reason.startswith("chosen: ")
    assert reason.endswith(" items/s")
    assert server.scale() == 1
    (record,) = (repository / ".cache").glob("*.measured.json")
    rows = json.loads(record.read_text())
    assert {row["runtime"] for row in rows} == {"onnxruntime"}
    assert all(row["items_per_sec"] > 0 and not row["reason"] for row in rows)
    fastest = max(row["items_per_sec"] for row in rows)
    (chosen,) = [row for row in rows if f"chosen: {row['instances']} x {row['threads']} thread(s)" in reason]
    assert chosen["items_per_sec"] >= 0.97 * fastest
    config = server.request("GET", "/v2/models/affine/config").json
    assert config["instance_group"][0]["count"] == chosen["instances"]
    assert server.request("GET", "/v2/models/affine/stats").json["model_stats"][0]["execution_count"] == 1
    assert server.stop() == 0

    # What was measured decides after a restart, and for other weights of the same size.
    for row in rows:
        row["items_per_sec"] = 1e6 if row["threads"] == 1 else 1
    record.write_text(json.dumps(rows))
    write_version(tmp_path / "new" / "2", affine(2), "")
    (tmp_path / "new" / "2").rename(repository / "affine" / "2")
    server = start()
    (single,) = [row for row in rows if row["threads"] == 1]
    assert f"chosen: {single['instances']} x 1 thread(s)" in server.wait_for_state(2, "READY")
    assert server.scale() == 2
    server.stop()

    # A damaged record is measured again.
    record.write_text("[{")
    server = start()
    assert server.wait_for_state(2, "READY").startswith("chosen: ")
    again = json.loads(record.read_text())
    assert [row["threads"] for row in again] == [row["threads"] for row in rows]
    assert all(row["items_per_sec"] not in (1, 1e6) for row in again)
    server.stop()

    # An objective that nothing reaches is named.
    (repository / "affine" / "config.toml").write_text(f"{AUTO}slo_ms = 0.001\n")
    server = start()
    assert server.wait_for_state(2, "READY").endswith("at 80 % of it, above slo_ms")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ('instances = "many"\n', 'instances must be a number from 1 to 4096, or "auto"'),
        ("slo_ms = 5\n", 'slo_ms needs instances = "auto"'),
        ('instances = "auto"\nslo_ms = 0\n', "slo_ms must be a number from 0.001 to 8.64e+07"),
    ],
)
def test_a_configuration_that_is_wrong(start: Start, tmp_path: Path, config: str, reason: str) -> None:
    write_version(tmp_path / "repository" / "affine" / "1", affine(1), config)
    ((_, found),) = start().index().values()
    assert reason in found


def test_a_model_that_fails_on_zeros(start: Start, tmp_path: Path) -> None:
    text = "class Model:\n"
    text += "    def load(self, folder, threads, parameters): pass\n    def close(self): pass\n"
    text += "    def inputs(self): return [('x', 'FP32', (1,))]\n    def outputs(self): return [('x', 'FP32', (1,))]\n"
    text += "    def run(self, inputs): raise ValueError('no zeros')\n"
    folder = tmp_path / "repository" / "m" / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(text)
    (folder.parent / "config.toml").write_text('runtime = "python"\ninstances = "auto"\n')
    assert start().index("m")[1] == ("READY", "not measured: python: no zeros")
