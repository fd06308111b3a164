"""The project's text avoids the words in ``WORDS``, which are not the idiom of compilers and numerical libraries.

All tracked text is searched: code, identifiers, comments, messages and documents. A word that is right in one place is
listed in ``ALLOWED`` with its reason.
"""

from __future__ import annotations

import re
import subprocess
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = {".cc", ".cmake", ".h", ".in", ".md", ".py", ".pyi", ".sh", ".toml", ".txt", ".yaml", ".yml"}
NAMES = {"Makefile", "run"}

# A regular expression for whole words, and what to write instead. Letter case is ignored. An underscore counts as a
# space, so identifiers match too, and so does a line break, also within a comment.
WORDS: dict[str, str] = {
    r"\w*reckon\w*": "compute",
    r"\w*contenders?": "implementation; baseline for another runtime",
    r"\w*refus(e|es|ed|al|als|ing)": "reject, raise, not supported",
    r"ask(s|ed|ing)?": "request, prefetch, require; options for parsed arguments",
    r"hand(s|ed|ing)? (over|on)": "pass, report, export",
    r"(go|goes|going|went) by": "use, depend on",
    r"(is|are|was|were) (?-i:none)": "is not a, no X exists, if absent",
    r"(?<!there )(is|are|was|were) no(?! (longer|more|less|larger|smaller|slower|faster)\b)": "is not a",
    r"(one|lines?|bytes|operations|cycles) (?-i:an?)": "per",
    r"(runs|times) a second": "per second",
    r"(is|are) to(?! the\b)": "must",
    r"(is|are) looked at": "is read",
    r"of (its|their) own": "own, separate",
    r"by (itself|themselves)": "alone",
    r"stands?(?! (alone|for)\b)": "is, lies, is listed",
    r"knows?": "supports, contains, has",
    r"tells?": "returns, reports, distinguishes",
    r"told": "passed, called with, reported",
    r"said": "reported, printed; message, output",
    r"ahead of (its|their) use": "before use",
    r"anew": "again",
    r"besides?": "next to, with, in addition to",
    r"by turns": "alternately, interleaved",
    r"for want of": "without, no X",
    r"likewise": "also",
    r"meanwhile": "at the same time, during",
    r"mend(s|ed|ing)?": "fix",
    r"no word of": "no mention of",
    r"on record": "recorded",
    r"taken to be": "assumed to be",
    r"whoever": "users who, anyone who",
    r"whom": "rephrase",
    r"\w*(behaviour|colour|favour|neighbour)\w*": "American spelling: behavior, color, favor, neighbor",
    r"\w*(general|initial|maxim|minim|normal|optim|organ|quant|recogn|serial|special|summar|token|util|vector)"
    r"is(e|ed|es|ing|ation|ations|er|ers)": "American spelling: normalize",
}


class Allowed(NamedTuple):
    file: str
    text: str  # as found, in lower case
    reason: str


ALLOWED: tuple[Allowed, ...] = (
    Allowed("compiler/program/saved_model.py", "tell", "method of Python's files"),
    Allowed("kernels/cpp/bindings/convolution.h", "is none", "pybind11's test for None"),
    Allowed("kernels/cpp/bindings/dense_call.h", "is none", "pybind11's test for None"),
    *(
        Allowed(f"kernels/cpp/bindings/{name}.cc", "is none", "pybind11's test for None")
        for name in ("arguments", "attention", "block_dense", "recurrent", "rowwise")
    ),
)


class Found(NamedTuple):
    line: int
    text: str  # in lower case
    instead: str


PATTERNS = {re.compile(rf"\b{words}\b", re.IGNORECASE): instead for words, instead in WORDS.items()}


def found_in(text: str) -> Iterator[Found]:
    """Yields each place of ``text`` that a pattern of ``WORDS`` matches."""
    lines = [" ".join(re.sub(r"^\s*(#|//)", "", line).replace("_", " ").split()) for line in text.split("\n")]
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    plain = " ".join(lines)
    for pattern, instead in PATTERNS.items():
        for match in pattern.finditer(plain):
            yield Found(bisect_right(starts, match.start()), match.group().lower(), instead)


def tracked() -> list[str]:
    """Returns the text files of the checkout, new ones included, that are searched; paths are relative to ``ROOT``."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    text = [name for name in names if Path(name).suffix in SUFFIXES or Path(name).name in NAMES]
    this = Path(__file__).relative_to(ROOT).as_posix()  # lists the words
    return sorted(name for name in text if name != this and (ROOT / name).is_file())


def test_the_text_uses_the_idiom_of_the_field() -> None:
    allowed = {(entry.file, entry.text) for entry in ALLOWED}
    used = set()
    wrong = []
    for name in tracked():
        for found in found_in((ROOT / name).read_text(encoding="utf-8")):
            if (name, found.text) in allowed:
                used.add((name, found.text))
            else:
                wrong.append(f"{name}:{found.line}: {found.text!r}; instead: {found.instead}")
    assert not wrong, "words to replace, or to allow with a reason:\n" + "\n".join(wrong)
    unused = sorted(allowed - used)
    assert not unused, f"entries of ALLOWED that match nothing: {unused}"


def test_the_glossary_names_existing_files() -> None:
    entries = re.split(r"^- ", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(entries) > 20
    for entry in entries:
        paths = [path for path in re.findall(r"`([^`\s]+)`", entry) if "/" in path]
        assert paths, f"no file: {entry}"
        missing = [path for path in paths if not (ROOT / path).exists()]
        assert not missing, f"{missing} do not exist: {entry}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cost is reckoned once.", [(1, "reckoned")]),
        ("x = 1\n# a name that is\n# no operator", [(2, "is no")]),
        ("def test_a_model_is_refused():", [(1, "refused")]),
        ("class ModelContender:", [(1, "modelcontender")]),
        ("// What L1 asks for, a\n// line a step", [(1, "asks"), (2, "line a")]),
        ("if x is None: raise ValueError('there is no pass')", []),
        ("It is no longer used. The vectors are no larger than that.", []),
        ("neighbouring rows, normalised", [(1, "neighbouring"), (1, "normalised")]),
        ("otherwise raises noise; parallelism; promise; elementwise", []),
    ],
)
def test_the_search_finds_words(text: str, expected: list[tuple[int, str]]) -> None:
    assert sorted((found.line, found.text) for found in found_in(text)) == expected


def test_every_allowed_entry_has_a_reason() -> None:
    assert all(entry.reason and entry.text == entry.text.lower() for entry in ALLOWED)
    assert len({entry[:2] for entry in ALLOWED}) == len(ALLOWED)
