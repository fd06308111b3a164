"""The comparison of answers, and its report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.serving.against_triton.answers import Answer
from tests.serving.against_triton.known import MISSING, NOT_SENT, Known

_MOST_CHARACTERS = 80


@dataclass(frozen=True)
class Difference:
    case: str
    field: str
    ours: str
    theirs: str
    known: Known | None


def differences(case: str, ours: Answer, theirs: Answer, known: Iterable[Known]) -> list[Difference]:
    """Returns the fields that differ. If one of the servers answers with an error, that is the code alone."""
    pairs = {
        key: (ours.fields.get(key, MISSING), theirs.fields.get(key, MISSING))
        for key in {**ours.fields, **theirs.fields}
    }
    if ours.fields["code"] != theirs.fields["code"]:
        pairs = {"code": (_code(ours), _code(theirs))}
    return [
        Difference(case, key, own, other, next((rule for rule in known if rule.matches(case, key, own, other)), None))
        for key, (own, other) in pairs.items()
        if own != other
    ]


def lines(combinations: int, found: Sequence[Difference], known: Sequence[Known]) -> list[str]:
    """Returns the table: what agrees, the known differences by reason with one example each, and the others."""
    others = [each for each in found if each.known is None]
    same = combinations - len({each.case for each in found})
    report = [
        f"{combinations} combinations: {same} agree, {len({e.case for e in others})} differ without a known reason"
    ]
    for reason in dict.fromkeys(rule.reason for rule in known):
        covered = [each for each in found if each.known and each.known.reason == reason]
        report.append(f"known, {len({each.case for each in covered})} combinations: {reason}")
        report += [f"    such as {_line(each)}" for each in covered[:1]]
    report += [f"not sent, {case}: {reason}" for case, reason in NOT_SENT.items()]
    return report + [_line(each) for each in others]


def _code(answer: Answer) -> str:
    return " ".join(part for part in (answer.fields["code"], answer.message) if part)


def _line(difference: Difference) -> str:
    ours, theirs = _short(difference.ours), _short(difference.theirs)
    return f"{difference.case}: {difference.field}: ours {ours} | Triton {theirs}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 2 * _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]} ... {text[-_MOST_CHARACTERS:]}"
