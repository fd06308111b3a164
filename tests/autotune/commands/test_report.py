"""The report is one file, loads nothing from outside, and shows text as text."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from autotune.commands.report import write_report
from autotune.commands.result import rows
from tests.autotune.commands.search_results import ADDITION, RESULTS, TARGET, result


class Page(HTMLParser):
    """The tags, attributes and text of a page, and the tags that are still open at its end."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = write_report(tmp_path_factory.mktemp("report"), TARGET, RESULTS)
    assert [found.name for found in path.parent.iterdir()] == ["index.html"]
    return Page(path)


def test_every_element_is_closed(page: Page) -> None:
    assert page.open == []


def test_nothing_is_loaded_from_outside(page: Page) -> None:
    assert not {"script", "link", "img", "iframe", "object", "image"} & set(page.tags)
    references = [value for name, value in page.attributes if name in ("href", "xlink:href", "src", "action")]
    assert references, "the pictures refer to parts of themselves"
    assert all(value.startswith("#") for value in references)
    assert "@import" not in page.text
    assert not any("url(" in value and "url(#" not in value for _, value in page.attributes)


def test_both_pictures_are_drawn_with_text_that_can_be_read(page: Page) -> None:
    assert page.tags.count("svg") == 2
    for words in ("500x500x500", "1x1000x2000", "best so far, GFLOP/s", "arithmetic intensity, FLOP/byte"):
        assert words in page.text


def test_the_table_shows_every_result(page: Page) -> None:
    assert all(cell in page.text for row in rows(RESULTS) for cell in vars(row).values())


def test_workloads_that_only_move_data_have_curves_and_no_roofline_chart(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, TARGET, [result(ADDITION, "kernel", (48e-6, 24e-6))]))
    assert page.tags.count("svg") == 1
    assert "best so far, GB/s" in page.text
    assert "50.0 GB/s" in page.text


def test_text_is_escaped(page: Page) -> None:
    assert "A <fast> & cheap CPU" in page.text
    assert "order=<m&n>" in page.text
    assert "fast" not in page.tags


def test_the_same_results_make_the_same_page(tmp_path: Path) -> None:
    first, second = (write_report(tmp_path, TARGET, RESULTS).read_text() for _ in range(2))
    assert first == second
