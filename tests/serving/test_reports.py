"""Public reports about other servers: each is named by the test that would fail if ours did the same."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent
# What was reported: one of the reports.
REPORTS = {
    "the old version is unloaded before the new one is loaded": "triton#2076",
    "a half-copied version is served": "tfs#1086",
    "a failed load is never tried again": "tfs#1738",
    "one broken model holds up the others": "triton#6534",
    "the second load of a bad model succeeds": "triton#3802",
    "two loads at a time load twice": "triton#7018",
    "a folder is overwritten in place": "tfs#1822",
    "switching versions holds up requests": "tfs#385",
    "memory is not freed": "triton#4528",
    "a server that stops says that a model is unknown": "triton#6230",
    "a load makes the server not ready": "triton#7014",
    "a roll-out drops requests": "ray#63995",
    "answers of a batch go to the wrong caller": "mlserver#1306",
    "requested outputs are ignored in a batch": "mlserver#514",
    "a limit of time fires early": "mlserver#1936",
    "a batch exceeds its maximum": "bento#3859",
    "ragged lengths fail in a batch": "triton#3776",
    "the time in the queue dominates unseen": "triton#8251",
    "abandoned requests are computed": "triton#6920",
    "a worker that ended is not noticed": "ray#42593",
    "names of steps leave the repository": "triton PR#8400",
    "ranges of shared memory are not checked": "triton PR#6914",
    "threads follow the host, not the quota": "ovms#2721",
    "models together take more cores than there are": "ovms#3136",
    "times are summaries, which cannot be added": "triton#3060",
    "a form of a data type fails": "kserve#5907",
    "the address of a model is fetched": "torchserve#47",
    "paths of an archive leave their folder": "kserve PR#4612",
    "chunks and nesting take the memory": "triton#8770",
    "large messages fail without a reason": "dali_backend#241",
    "NaN and infinity fail in JSON": "triton#3711",
}


def named() -> Iterator[str]:
    """Yields the docstrings of tests, and the comments above those in C++."""
    for path in FOLDER.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield ast.get_docstring(node) or ""
    yield from re.findall(r"^// (.*)\nvoid test_", (FOLDER / "cpp" / "core_test.cc").read_text(), re.MULTILINE)


def test_each_report_has_a_test() -> None:
    text = "\n".join(named())
    assert not {what: report for what, report in REPORTS.items() if not re.search(rf"\b{re.escape(report)}\b", text)}
