"""A page as a browser reads it: elements, texts, and what it would load."""

from html.parser import HTMLParser

from metaloop.run.report.html import VOID


class Page(HTMLParser):
    """Reads a page, and refuses one whose elements are not closed in their order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.texts: list[str] = []
        self.loads: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.loads += [value for key, value in attrs if key in ("src", "href")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def pictures(self) -> int:
        return self.names.count("img")
