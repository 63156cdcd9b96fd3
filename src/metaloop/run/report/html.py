"""HTML pieces. Every text is escaped, unless it is Html already."""

import html
import re
from collections.abc import Mapping, Sequence

from rich.table import Table

from metaloop.user_text import readable

VOID = {"img", "meta"}  # elements without content
NUMBER = re.compile(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)? ?%?( |$)")


class Html(str):
    """A piece of a page."""

    __slots__ = ()


def tag(name: str, *content: str, **attributes: str) -> Html:
    """Make an element; attributes lose a final underscore, so `class_` is `class`."""
    shown = "".join(f' {key.rstrip("_")}="{_escape(value)}"' for key, value in attributes.items())
    inner = "" if name in VOID else f"{join(*content)}</{name}>"
    return Html(f"<{name}{shown}>{inner}")


def join(*parts: str) -> Html:
    """Concatenate pieces and texts."""
    return Html("".join(part if isinstance(part, Html) else _escape(part) for part in parts))


def paragraph(text: str, class_: str = "text") -> Html:
    """Make a paragraph of a text."""
    return tag("p", text, class_=class_)


def typeset(text: str) -> str:
    """Write the +/- of an interval as in print, and keep it on one line with the half-width."""
    return text.replace("+/- ", "\u00b1\u00a0")


def commands(lines: Sequence[str]) -> Html:
    """Show commands, each on a line of its own."""
    return tag("pre", *(tag("code", f"{line}\n") for line in lines))


def grid(table: Table) -> Html:
    """Show a table made for the terminal, with its title above and its caption below."""
    columns = list(table.columns)
    head = tag("tr", *(tag("th", str(column.header), scope="col") for column in columns))
    rows = zip(*(map(str, column.cells) for column in columns), strict=True)
    body = (tag("tr", *map(_cell, row)) for row in rows)
    shown = tag("table", tag("thead", head), tag("tbody", *body))
    above = [paragraph(str(table.title), "title")] if table.title else []
    below = [paragraph(str(table.caption), "note")] if table.caption else []
    return join(*above, tag("div", shown, class_="wide", tabindex="0"), *below)


def pairs(values: Mapping[str, object]) -> Html:
    """Show named values, one a row."""
    rows = (
        tag("tr", tag("th", name, scope="row"), tag("td", str(value)))
        for name, value in values.items()
    )
    return tag("table", tag("tbody", *rows), class_="pairs")


def _cell(text: str) -> Html:
    kind = "number" if NUMBER.match(text) else "text"
    return tag("td", typeset(text), class_=kind)


def _escape(text: str) -> str:
    return html.escape(readable(text))
