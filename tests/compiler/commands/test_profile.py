"""``profile``: the tables, the JSON file and the page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from compiler.__main__ import main
from compiler.commands.report.page import page
from compiler.commands.report.profile import Profile
from compiler.program.profile import ProfileRow
from compiler.workloads.schedule import Schedule
from tests.compiler.commands.conftest import NODE, Built

SCHEDULE = Schedule("kernel", {"mr": 6, "order": "<m>"})
PROFILE = Profile(
    (
        ProfileRow("a<b>", "dense 1x2x3 float32", "kernel", SCHEDULE, 6e-6, 10.0, 0.5),
        ProfileRow("transpose&", "", "tvm", None, 1e-6, None, None),
        ProfileRow("c", "dense 1x2x3 float32", "kernel", SCHEDULE, 2e-6, 30.0, 1.5),
        ProfileRow("(virtual machine)", "", "vm", None, 1e-6, None, None),
    ),
    frozenset({"c"}),
)


class Page(HTMLParser):
    """The text and the elements of a page, whose nesting it checks."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_tables() -> None:
    assert PROFILE.cells()[0] == [
        "a<b>", "dense 1x2x3 float32", "kernel", "6.0", "60.0%", "10.0", "50%", "mr=6 order=<m>",
    ]  # fmt: skip
    assert PROFILE.cells()[1] == ["transpose&", "", "tvm", "1.0", "10.0%", "", "", ""]
    assert PROFILE.cells()[2][-1] == "default: mr=6 order=<m>"
    assert PROFILE.sums() == [
        ["dense", "2", "8.0", "80.0%"],
        ["generated", "1", "1.0", "10.0%"],
        ["virtual machine", "1", "1.0", "10.0%"],
        ["total", "4", "10.0", "100.0%"],
    ]
    assert Profile(()).sums() == [["total", "0", "0.0", "0.0%"]]


def test_a_page_escapes_names_and_needs_nothing_else() -> None:
    text = page("<model>", ["x: <float32>"], PROFILE)
    found = Page(text)
    for name in ("<model>", "x: <float32>", "a<b>", "transpose&", "default: mr=6 order=<m>"):
        assert name in found.text
    tags = {tag for tag, _ in found.elements}
    assert not tags & {"b", "m", "model", "float32", "script", "link", "img", "iframe"}
    assert not {name for _, attributes in found.elements for name in attributes} & {"src", "href"}
    assert "url(" not in text


def test_a_bar_is_as_long_as_its_time_and_dark_within_the_roofline() -> None:
    bars = page("m", [], PROFILE).partition("<tbody>")[2].split('<div class="bar">')[1:]
    widths = [
        [float(part.partition("%")[0]) for part in bar.partition("</div>")[0].split("width:")[1:]] for bar in bars
    ]
    assert widths == [[50, 50], [16.67], [33.33], [16.67]]


@pytest.mark.tvm
def test_the_command(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["profile", str(built.saved), "--runs", "3", "--json", "p.json", "--html", "p.html"]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "\nPage: open p.html in a browser\n" in printed
    content = json.loads(Path("p.json").read_text())
    rows = content["rows"]
    assert content["runs"] == 3
    assert content["random_inputs"] == ["x", "scale"]
    assert rows[0]["layer"] == NODE
    assert rows[0]["op"] == "dense 4x9x16 float32 bias relu"
    assert rows[0]["untuned"]
    assert rows[0]["schedule"]["backend"] == "kernel"
    assert [row["backend"] for row in rows[:1] + rows[-1:]] == ["kernel", "vm"]
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert content["seconds"] == pytest.approx(sum(row["seconds"] for row in rows))
    places = [printed.index(f"\n{row['layer']} ") for row in rows]
    assert places == sorted(places)
    found = Page(Path("p.html").read_text())
    assert NODE in found.text
    assert "script" not in {tag for tag, _ in found.elements}
