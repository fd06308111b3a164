"""What was sent, what was answered, and what is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

BATCH = 50  # requests that are sent before their answers are read
WAIT_SECS = 60


@dataclass
class Totals:
    """What was sent and answered, by kind."""

    sent: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def find(self, what: str, sent: bytes) -> None:
        self.findings.append(f"{what}: {sent[:600]!r}")
