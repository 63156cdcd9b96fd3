"""Tables with figures come from records, each with the command, commit and machine that made it."""

import json
import re
from importlib import import_module

import pytest

from tests.conftest import ROOT
from tests.docs.document import PAGES

BENCHMARKS = ROOT / "benchmarks"
RECORDS = sorted((BENCHMARKS / "records").glob("*.json"))
FIGURE = re.compile(r"[-+]?[\d.,]+( \+/- [\d.]+)?( ?%| ms| s| dB)?")


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_records_tables_are_what_its_benchmark_makes_of_it(path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    assert path.with_suffix(".md").read_text() == import_module("record").tables_of(path)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_tells_how_it_was_made_and_nothing_of_where(path):
    for part in json.loads(path.read_text())["parts"].values():
        how = part["made"]
        assert how["command"].startswith("python benchmarks/")
        assert how["processor"]
        assert "torch" in how["versions"]
    assert not re.search(r"[\s=\"]/\w", path.read_text())  # a path of the machine


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_page_includes_a_records_tables(path):
    line = f"```{{include}} ../../benchmarks/records/{path.stem}.md\n"
    assert any(line in page.text for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_no_table_of_figures_typed_by_hand(page):
    rows = re.findall(r"^\|(.*)\|$", page.text, re.MULTILINE)
    cells = [cell.strip(" *") for row in rows for cell in row.split("|")]
    assert [cell for cell in cells if FIGURE.fullmatch(cell)] == []
