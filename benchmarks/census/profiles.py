"""Where the time of a model goes, in our program and in ONNX Runtime."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx

import compiler
from benchmarks.models import census
from compiler.runtimes.onnxruntime import session_options
from graph_passes.report import columns

RUNS = 20
ROWS = 25  # of each table


def lines(name: str, threads: int, isa: str | None) -> Iterator[str]:
    """Yields a table of our slowest layers and one of ONNX Runtime's slowest nodes."""
    shapes, inputs = census.model(name).input_shapes, census.inputs(name)
    compiled = compiler.build(census.model(name).path, shapes, threads, target=isa or "host")
    rows = compiled.profile(inputs, RUNS)
    total = sum(row.seconds for row in rows)
    yield f"ours: {total * 1e6:.1f} us in {len(rows)} calls"
    yield columns(
        [
            ("us", "share", "backend", "layer", "operator", "roofline"),
            *(
                (
                    f"{row.seconds * 1e6:.1f}",
                    f"{row.seconds / total:.1%}",
                    row.backend,
                    row.layer[:40],
                    row.op[:90],
                    f"{row.roofline:.0%}" if row.roofline else "",
                )
                for row in sorted(rows, key=lambda row: -row.seconds)[:ROWS]
            ),
        ],
        left=(2, 3, 4),
    )
    nodes = node_secs(census.frozen(name), inputs, threads)
    total = sum(nodes.values())
    yield f"ONNX Runtime: {total * 1e6:.1f} us in {len(nodes)} nodes"
    yield columns(
        [
            ("us", "share", "operator", "node"),
            *(
                (f"{secs * 1e6:.1f}", f"{secs / total:.1%}", op, node[:70])
                for (op, node), secs in nodes.most_common(ROWS)
            ),
        ],
        left=(2, 3),
    )


def node_secs(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], threads: int) -> Counter[tuple[str, str]]:
    """Returns ONNX Runtime's seconds per run of each node, by operator and name."""
    import onnxruntime as ort

    with tempfile.TemporaryDirectory(prefix="loopwright-census-") as folder:
        options = session_options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        for _ in range(1 + RUNS):
            session.run(None, dict(inputs))
        events = json.loads(Path(session.end_profiling()).read_text())
    found: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            key = event["args"]["op_name"], event["name"].removesuffix("_kernel_time")
            found.setdefault(key, []).append(event["dur"] * 1e-6)
    return Counter({key: float(np.median(secs)) for key, secs in found.items()})
