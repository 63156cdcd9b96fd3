"""The gallery shows every kind of task, and each page says how its picture was made."""

from pathlib import Path

import pytest

from metaloop.cli.hydra_app import CONF
from tests.docs.document import DOCS, PAGES

GALLERY = DOCS / "gallery"
(INDEX,) = (page for page in PAGES if page.path == GALLERY / "index.md")
USES = [page for page in PAGES if page.path.parent == GALLERY and page is not INDEX]
LARGEST = 60 * 1024  # bytes of a picture
HEADINGS = ("Task", "Run", "Result", "What this does not show")


def pictures(page) -> list[Path]:
    return [page.path.parent / link for link in page.links if link.endswith(".png")]


@pytest.mark.parametrize("page", USES, ids=lambda page: page.path.stem)
def test_a_page_has_a_task_a_run_a_result_and_its_limits(page):
    headings = [line[3:] for line in page.text.splitlines() if line.startswith("## ")]
    assert [heading for heading in headings if heading in HEADINGS] == list(HEADINGS)
    result = page.text.partition("## Result\n")[2].partition("\n## ")[0]
    assert page.commands
    assert pictures(page)
    for said in (" +/- ", "Seed ", " core of an "):  # by what interval, seed and machine
        assert said in result


@pytest.mark.parametrize("page", [INDEX, *USES], ids=lambda page: page.path.stem)
def test_pictures_are_small(page):
    for path in pictures(page):
        assert path.stat().st_size <= LARGEST, path.name


def test_the_index_has_a_picture_of_every_kind_of_task():
    _, uses, *kinds = INDEX.text.split("\n## ")
    assert uses.startswith("Uses")
    assert [kind.splitlines()[0] for kind in kinds if ".png)" not in kind] == []


def test_the_index_shows_every_task_and_leads_to_every_page():
    tasks = [path.stem for path in (CONF / "task").glob("*.yaml")]
    assert [task for task in tasks if f"`{task}`" not in INDEX.text] == []
    for page in USES:
        assert f"({page.path.name})" in INDEX.text
        assert f"\n{page.path.stem}\n" in INDEX.text.partition("{toctree}")[2]
