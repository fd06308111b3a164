"""onnx's node tests through ``compiler.build``: no wrong answer, no late error, no crash.

A sample runs by default, and all cases with ``--all-cases``. ``tests.compiler.node_tests`` says which cases count.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compiler.differential.outcome import FAILURES, UNSUPPORTED

SAMPLE = 72  # every n-th case

# The operators of cases that are not supported with constant parameters: sizes from data, loops,
# sequences, strings, and others without a converter.
NOT_ALWAYS_SUPPORTED = frozenset(
    "AffineGrid ArrayFeatureExtractor Binarizer Col2Im Compress DeformConv Det Equal Identity If LabelEncoder "
    "LinearAttention Loop NonMaxSuppression NonZero Optional OptionalGetElement OptionalHasElement RegexFullMatch "
    "Scan SequenceEmpty SequenceInsert SequenceLength SequenceMap SplitToSequence StringConcat StringNormalizer "
    "StringSplit TensorScatter TfIdfVectorizer TreeEnsemble Unique".split()
)


@pytest.mark.tvm
def test_a_case_passes_or_is_not_supported(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    every = 1 if request.config.getoption("--all-cases") else SAMPLE
    # A separate process without threads, since it forks.
    command = [sys.executable, "-m", "tests.compiler.node_tests", f"--every={every}", f"--json={tmp_path / 'json'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (tmp_path / "json").exists(), done.stderr
    results = json.loads((tmp_path / "json").read_text())
    print(done.stdout.splitlines()[-2:])
    # An operator whose cases are no longer supported is a regression as well.
    names = [set(r["operators"].split(", ")) for r in results if r["kind"] == UNSUPPORTED and r["form"] == "constants"]
    unexpected = [sorted(operators) for operators in names if operators.isdisjoint(NOT_ALWAYS_SUPPORTED)]
    assert not unexpected, unexpected
    failed = [r for r in results if r["kind"] in FAILURES]
    assert not failed, done.stdout
    assert done.returncode == 0
