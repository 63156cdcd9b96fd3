"""Every text is escaped where it enters a page."""

from rich.table import Table

from metaloop.run.report.html import commands, grid, join, pairs, paragraph, tag
from tests.run.report.reading import Page

NASTY = '<script>alert(1)</script> & "q" \x1b[31m caf\udce9'
SHOWN = '<script>alert(1)</script> & "q" \\x1b[31m caf\\xe9'


def test_texts_and_attributes_are_escaped_and_harmless():
    table = Table("a", NASTY, title=NASTY, caption=NASTY)
    table.add_row("1.5 +/- 0.2", NASTY)
    made = join(paragraph(NASTY), grid(table), pairs({NASTY: NASTY}), commands([NASTY]), NASTY)
    page = Page(made)
    assert "script" not in page.names
    assert page.text.count(SHOWN) == 9
    assert tag("a", "x", href='"><b>') == '<a href="&quot;&gt;&lt;b&gt;">x</a>'


def test_pieces_enter_as_they_are():
    assert tag("p", tag("b", "1 < 2"), " & ") == "<p><b>1 &lt; 2</b> &amp; </p>"
    assert tag("img", src="data:") == '<img src="data:">'


def test_a_table_keeps_a_value_and_its_interval_on_one_line():
    table = Table("step", "loss")
    table.add_row("3", "1.5 +/- 0.2")
    assert '<td class="number">1.5 \u00b1\u00a00.2</td>' in grid(table)
