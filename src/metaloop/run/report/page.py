"""The frame of a page: title, state, table of contents, sections, and when it was written."""

from collections.abc import Callable, Iterable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.report.html import Html, join, paragraph, tag

STYLE = Path(__file__).with_name("page.css")
# load and execute nothing, whatever a page holds
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STATES = {
    "composed": "It has not been started.",
    "running": "It is still going on; this page shows what there is so far.",
    "interrupted": "It was stopped and can be resumed:",
    "killed": "Its process has disappeared without a word, so that it can be resumed.",
    "diverged": "It ended because its values were no longer finite:",
    "failed": "It ended with an error:",
    "completed": "",
}


class Section(NamedTuple):
    """A part of a page; one whose content is empty is left out."""

    title: str
    make: Callable[[], Iterable[Html]]


def write_page(title: str, subtitle: str, state: Html, sections: Iterable[Section]) -> str:
    """Write a page in ASCII, which reads the same in any encoding."""
    made = {section.title: _content(section) for section in sections}
    shown = {f"part-{i}": parts for i, parts in enumerate(made.items(), 1) if parts[1]}
    links = (tag("a", name, href=f"#{anchor}") for anchor, (name, _) in shown.items())
    body = (
        tag("section", tag("h2", name), content, id=anchor)
        for anchor, (name, content) in shown.items()
    )
    written = f"Written by metaloop {version('metaloop')}, {datetime.now():%Y-%m-%d %H:%M}."
    header = tag("header", tag("h1", title), paragraph(subtitle, "subtitle"), state)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{title}: {subtitle}"),
        tag("style", Html(STYLE.read_text())),
    )
    main = join(header, tag("nav", *links), tag("main", *body), tag("footer", written))
    page = join(Html("<!DOCTYPE html>\n"), tag("html", head, tag("body", main), lang="en"))
    return page.encode("ascii", "xmlcharrefreplace").decode()


def state_of(folder: RunFolder, progress: str = "") -> Html:
    """Show a run's state, its progress, and the reason why it ended."""
    try:
        state, reason = folder.state(), folder.why_ended()
    except UserError as error:
        return paragraph(str(error), "problem")
    said = STATES.get(state, "")
    words = [progress, said if reason else said.replace(":", "."), reason]
    badge = tag("strong", state, class_=f"badge {state if state in STATES else 'unknown'}")
    return tag("p", badge, " ", " ".join(word for word in words if word))


def _content(section: Section) -> Html:
    try:
        return join(*section.make())
    except UserError as error:  # a damaged file costs its section alone
        return paragraph(str(error), "problem")
