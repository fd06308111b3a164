"""Measured curves that a prediction is compared with: one that is part of the project, or a file of ``curves``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

OWN = "default"  # our implementation in results of ``benchmarks.whole_models``


@dataclass(frozen=True)
class Known:
    """A measured curve of our program.

    Attributes:
        about: where it was measured.
        model: the name of the model.
        secs: seconds of a run by number of threads, with 1.
        fork_join: seconds of a region for two threads and for each further one that explain it; None: those of the
            machine model.
    """

    about: str
    model: str
    secs: Mapping[int, float]
    fork_join: tuple[float, float] | None = None

    @property
    def speedups(self) -> dict[int, float]:
        return {threads: self.secs[1] / secs for threads, secs in self.secs.items()}


# The pool of that time woke its workers one after the other, so the cost of a region grew with their number. Both costs
# are fitted to this curve, with the least largest error: two numbers for four points. Agreement shows that such costs
# can explain it, not more.
PAST = Known(
    "16 cores of a virtual machine, Intel Xeon with AMX, before the change of the thread pool",
    "resnet50-v1.5",
    {1: 68.9e-3, 2: 36.6e-3, 4: 27.4e-3, 8: 17.0e-3, 16: 17.5e-3},
    (100e-6, 11e-6),
)
PAST_NAME = "past"


def known(name: str, model: str) -> Known:
    """Returns the curve of a model: ``PAST`` for ``past``, else that of a file which ``curves --json`` wrote.

    Raises:
        ValueError: the file has no curve of the model with one thread, or ``past`` is for another model.
        OSError: the file cannot be read.
    """
    if name == PAST_NAME:
        if model != PAST.model:
            raise ValueError(f"the curve {PAST_NAME!r} is of {PAST.model}, not of {model}")
        return PAST
    try:
        results = json.loads(Path(name).read_text())
        found = {
            int(result["threads"]): float(result["secs"][OWN])
            for result in results
            if result["name"] == model and OWN in result["secs"]
        }
    except OSError as error:
        raise type(error)(f"cannot read {name}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{name} is not a file of `python -m benchmarks.scaling curves --json`") from None
    if 1 not in found or min(found.values()) <= 0:
        raise ValueError(f"{name} has no curve of {model} with one thread")
    return Known(f"measured, {name}", model, found)
