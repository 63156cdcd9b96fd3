"""The documents tell of every algorithm, network, task and key, and their links lead somewhere."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from docs.generators.config_keys import Key, read_keys
from docs.generators.docstrings import mark_up
from docs.generators.presets import of_algorithm, results
from metaloop.cli.hydra_app import CONF
from tests.conftest import ROOT
from tests.docs.document import DOCS, DOCUMENTS, GENERATED, PAGES, README, Document

MOST_LINES = 200
BOARD = ROOT / "benchmarks" / "board" / "board.json"


def stems(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def test_the_readme_is_short():
    assert len(README.text.splitlines()) <= MOST_LINES


@pytest.mark.parametrize("name", stems("algorithm"))
def test_an_algorithm_has_its_page_and_its_row(name):
    page = Document(DOCS / "algorithms" / f"{name}.md")
    assert any(f"algorithm={name}" in command for command in page.commands)
    assert f"../generated/parts/algorithms/{name}.md" in page.links
    index = (DOCS / "algorithms" / "index.md").read_text()
    assert f"| [`{name}`]({name}.md) |" in index
    assert f"\n{name}\n" in index.partition("{toctree}")[2]


def test_every_installed_command_is_told_of():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = "".join(document.text for document in DOCUMENTS)
    assert [
        name for name in project["scripts"] if f"`{name}" not in told and f"\n{name} " not in told
    ] == []


def test_every_network_and_task_has_its_row():
    for group, page in (("model", "models.md"), ("task", "tasks.md")):
        text = (DOCS / "reference" / page).read_text()
        for name in stems(group):
            assert f"`{name}`" in text, name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_what_a_document_links_to_is_there(document):
    for link in document.links:
        path = (document.path.parent / link.partition("#")[0]).resolve()
        is_made = any(folder in path.parents for folder in GENERATED)
        assert is_made or link.startswith("#") or path.exists(), link


def test_the_readme_leads_to_every_page():
    lists = [README, *(Document(DOCS / part / "index.md") for part in ("algorithms", "gallery"))]
    led_to = {
        (page.path.parent / link.partition("#")[0]).resolve()
        for page in lists
        for link in page.links
    }
    assert [page.name for page in PAGES if page.path not in led_to] == ["docs/index.md"]


def test_the_readmes_results_are_the_boards():
    rows = json.loads(BOARD.read_text())["rows"]
    told = re.findall(
        r"^\| `([\w/]+)`, .* after (\d+) steps \| ([\d.]+)( %)? \| ([\d.]+) \+/- ([\d.]+)",
        README.text,
        re.M,
    )
    assert len(told) == 4
    for preset, step, published, percent, ours, width in told:
        (row,) = (r for r in rows if (r["preset"], r["inner_step"]) == (preset, int(step)))
        seeds = row["ours"]["seeds"].values()
        (of_episodes,) = seeds if len(seeds) == 1 else [{"ci95": row["ours"]["ci95_over_seeds"]}]
        values = row["published"]["mean"], row["ours"]["mean"], of_episodes["ci95"]
        scale, digits = (100, 1) if percent else (1, 3)
        assert [f"{scale * v:.{digits}f}" for v in values] == [published, ours, width]


def test_a_key_is_read_with_its_default_and_its_comments():
    text = """# A thing.
#   command

_target_: metaloop.maml
defaults:
  - model: mlp   # the learner
  - override /task: sinusoid
lr: 0.1          # alpha | beta
# first line
# second line
part: [a, '#b']
nested:          # of both
  steps: null
hydra: {job: x}
"""
    assert list(read_keys(text)) == [
        Key("model", "mlp", "the learner"),
        Key("lr", "0.1", "alpha | beta"),
        Key("part", "[a, '#b']", "first line second line"),
        Key("nested", "", "of both"),
        Key("nested.steps", "null", ""),
    ]


def test_the_messages_of_troubleshooting_are_ours():
    """Word for word, but for what differs from case to case, in italics."""
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    source = " ".join(re.sub(r'"\s*\n\s*f?"', "", source).split())
    text = (DOCS / "how_to" / "troubleshooting.md").read_text()
    tables = re.findall(r"^\| message .*\n\|-.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    messages = re.findall(r"^\| (.*?) \|", "".join(tables), re.MULTILINE)
    assert len(messages) > 10
    for message in messages:
        for part in re.split(r"\*[^*]+\*|\.\.$", message):
            assert part.strip() in source, message


def test_equations_in_a_docstring_stay_as_they_are_typed():
    made = mark_up(
        [
            "Inner loop:",
            "",
            "    |phi - theta|^2",
            "",
            "For [*X] and `a|b`.",
            "",
            "Args:",
            "    steps: K.",
        ]
    )
    assert "    |phi - theta|^2" in made
    assert made.index("::") < made.index("    |phi - theta|^2")
    assert r"For [\*X] and `a|b`." in made
    assert made[-1] == r"    steps: \K."  # no list that begins with K
    assert made.count("::") == 1


def test_examples_in_a_docstring_stay_as_they_are_typed():
    made = mark_up(["Args:", "    x: a|b.", "", "Examples:", "    >>> f(*[a | b])", "    2"])
    assert r"    x: a\|b." in made
    assert made[-2:] == ["    >>> f(*[a | b])", "    2"]


def test_a_preset_belongs_to_the_algorithm_that_it_or_its_base_chooses():
    assert "finn2017/omniglot_5way_1shot" in of_algorithm(CONF, "maml")
    assert "rajeswaran2019/omniglot_5way_1shot" in of_algorithm(CONF, "imaml")
    assert not set(of_algorithm(CONF, "maml")) & set(of_algorithm(CONF, "fomaml"))
    assert results(BOARD, ["finn2017/omniglot_5way_1shot"]) == []  # not run
    assert len(results(BOARD, ["finn2017/sinusoid"])) == 2 + 3


def test_nothing_generated_is_committed():
    done = subprocess.run(
        ["git", "ls-files", *map(str, GENERATED)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("no git checkout")
    assert done.stdout == ""


def test_the_scripts_import_from_metaloop_alone():
    for document in DOCUMENTS:
        assert not re.search(r"(from|import) metaloop\.", "".join(document.files.values()))


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path):
    pytest.importorskip("myst_parser", reason="the extra docs is not installed")
    command = ["-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", DOCS, tmp_path]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "training.max_steps" in (tmp_path / "generated" / "config.html").read_text()
    assert "https://cdn" not in (tmp_path / "index.html").read_text()
