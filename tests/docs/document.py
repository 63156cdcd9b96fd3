"""A document as a reader uses it: the commands it tells, and the files it shows."""

import re
from functools import cached_property
from pathlib import Path

from tests.conftest import ROOT

DOCS = ROOT / "docs"
LANGUAGES = ("python", "yaml")


class Document:
    """README.md or a page of docs/.

    A block of Python or YAML whose first line is `# PATH` is that file, and further blocks of the
    same first line go on with it.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.text = path, path.read_text()

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    def blocks(self, language: str) -> list[str]:
        return re.findall(rf"```{language}\n(.*?)```", self.text, re.DOTALL)

    @property
    def commands(self) -> list[str]:
        lines = "".join(self.blocks("bash")).splitlines()
        return [line for line in lines if line.strip()]

    @cached_property
    def files(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for language in LANGUAGES:
            for block in self.blocks(language):
                first, _, rest = block.partition("\n")
                path = first.removeprefix("# ")
                assert re.fullmatch(rf"[\w/]+\.{language[:2]}\w*", path), f"{self.name}: {first}"
                found[path] = found.get(path, "") + rest
        return found

    @property
    def links(self) -> list[str]:
        """What it links to and shows beside it."""
        targets = re.findall(r"\]\(([^)\s]+)\)|\{include\} (\S+)", self.text)
        return [a or b for a, b in targets if not (a or b).startswith("http")]


README = Document(ROOT / "README.md")
GENERATED = (DOCS / "_build", DOCS / "generated")
PAGES = [
    Document(path)
    for path in sorted(DOCS.rglob("*.md"))
    if not any(folder in path.parents for folder in GENERATED)
]
DOCUMENTS = [README, *PAGES]
(JOB,) = Document(DOCS / "how_to" / "slurm.md").blocks("sh")
