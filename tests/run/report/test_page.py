"""The frame of a page holds what its sections make, and loads and executes nothing."""

import pytest

from metaloop.errors import UserError
from metaloop.run.report.html import Html, paragraph
from metaloop.run.report.page import STATES, Section, state_of, write_page
from tests.run.report.reading import Page


def section(title: str, *texts: str) -> Section:
    return Section(title, lambda: [paragraph(text) for text in texts])


def fails() -> list[Html]:
    raise UserError("metrics.csv cannot be read")


def test_sections_with_content_are_shown_and_listed_in_their_order():
    text = write_page("A run", "of today", Html(""), [section("One", "1"), section("Two")])
    page = Page(text)
    assert page.text.count("One") == 2  # in the contents and above the section
    assert "Two" not in page.text
    assert page.loads == ["#part-1"]
    assert "default-src 'none'" in text


def test_a_section_that_fails_costs_only_itself():
    sections = [Section("Broken", fails), section("Whole", "fine")]
    page = Page(write_page("A run", "x", Html(""), sections))
    assert "metrics.csv cannot be read" in page.text
    assert "fine" in page.text


def test_a_page_reads_the_same_in_any_encoding():
    text = write_page("日本 <b>", "é", Html(""), [])
    assert text.isascii()
    assert "日本 <b>" in Page(text).text


@pytest.mark.parametrize("state", ["composed", "completed", "failed", "interrupted"])
def test_the_state_is_explained_and_the_reason_given(state, make_run):
    folder = make_run()
    details = {"error": "UserError: no data"} if state == "failed" else {}
    folder.write_status(state, **details)
    text = Page(state_of(folder, "7 of 60 meta-steps.")).text
    assert text.startswith(f"{state} 7 of 60 meta-steps.")
    assert STATES[state].rstrip(":.") in text
    assert ("no data" in text) == (state == "failed")


def test_a_state_that_cannot_be_read_is_a_problem_in_words(make_run):
    folder = make_run()
    (folder.path / "status.json").write_text("{")
    assert "status.json" in Page(state_of(folder)).text
