"""Every command and script of the documents runs, shortened, in the order of its page."""

import re
import shlex
import subprocess

import pytest

from tests.conftest import ROOT
from tests.docs.document import DOCUMENTS, JOB, PAGES, README, Document
from tests.docs.place import NEEDS_CLUSTER, ON_SLURM, Place, can_run, words_of_data

CHEAP = ("README.md", "docs/how_to/algorithms.md")
# what a script prints where it is right: the line is at 1.3 there; gradients equal to rounding
PRINTS = {
    "python own.py": r"y at 0\.8: \[1\.[234]",
    "python maml.py": r"largest difference: (0\.0$|\d.*e-(0[6-9]|\d\d)$)",
    "python in_python.py": r"'right' 'left' 'below'",
    "python pieces.py": r"after 5 inner steps: 0\.[6-9]",
    "python enlarge.py": r"^\(112, 112\)$",
    "python adapt.py": r"y at 0: -?\d.*\nR\^2: ",
    "python control.py": r"^after 5 steps +0\.0\d+ ",
    "python judge.py FOLDER": r"^learner, 10 steps +0\.\d+ ",
}


@pytest.fixture
def place(tmp_path, cache) -> Place:
    return Place(tmp_path, cache)


def runnable(document: Document) -> list[str]:
    return [command for command in document.commands if can_run(command)]


def marked(document: Document) -> object:
    marks = () if document.name in CHEAP else pytest.mark.slow
    return pytest.param(document, id=document.name, marks=marks)


def test_the_readme_tells_of_every_command():
    started = {shlex.split(command)[0] for command in README.commands}
    assert {"make", "pip", "python", "metaloop-train", "metaloop-evaluate"} <= started
    assert {"metaloop-resume", "metaloop-adapt", "metaloop-sweep"} <= started


@pytest.mark.parametrize("target", ["train", "test", "lint", "docs", ".venv"])
def test_make_knows_its_targets(target):
    done = subprocess.run(
        ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", [marked(d) for d in DOCUMENTS if runnable(d)])
def test_the_commands_of_a_document_run_one_after_the_other(document, place, request):
    commands = runnable(document)
    for word, fixture in words_of_data(commands).items():
        place.data[word] = request.getfixturevalue(fixture)
    for command in commands:
        done = place.follow(document, command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert re.search(PRINTS.get(command, ""), done.stdout, re.MULTILINE), done.stdout


def test_what_needs_a_cluster_composes(place):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="no submitit launcher")
    commands = [c for page in PAGES for c in page.commands if c.startswith(NEEDS_CLUSTER)]
    assert len(commands) == len(NEEDS_CLUSTER)
    (on_slurm,) = (c for c in commands if c.startswith(ON_SLURM))
    done = place.run(on_slurm.replace(" -m ", " --cfg hydra ").replace("seed=0,1,2", "seed=0"))
    assert done.returncode == 0, done.stderr
    assert "hydra_submitit_launcher.submitit_launcher.SlurmLauncher" in done.stdout
    assert "timeout_min: 240" in done.stdout
    subprocess.run(["bash", "-n"], input=JOB, text=True, check=True)
