"""A page tells all of its folder, whatever state that is in, and loads nothing."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.read import load_config
from metaloop.run.config.write import rewrite_run, write_run
from metaloop.run.report.report import write_report
from metaloop.run.worker import work
from tests.conftest import SMALL, composed
from tests.run.report.reading import Page

RUN = (*SMALL, "training.validate_every=5", "evaluation.episodes=3", "algorithm.eval_inner_steps=2")
NASTY = "x</pre><script>alert(1)</script>"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> RunFolder:
    """A run that has completed and is evaluated."""
    torch.set_num_threads(1)
    run = write_run(composed(*RUN), list(RUN), tmp_path_factory.mktemp("trained"), "run")
    assert work([str(run.path)]) == 0
    return run


@pytest.fixture
def copied(trained, tmp_path):
    """Copy the run to a folder of this name."""

    def copy(name: str = "copy") -> RunFolder:
        return RunFolder(shutil.copytree(trained.path, tmp_path / "sweep" / name))

    return copy


def page_of(folder: Path) -> Page:
    write_report(folder, folder / "report.html")
    text = (folder / "report.html").read_bytes().decode("ascii")
    page = Page(text)
    assert "script" not in page.names
    assert all(where.startswith(("data:image/", "#part-")) for where in page.loads)
    return page


def test_the_page_of_a_run(trained):
    page = page_of(trained.path)
    assert "maml on Sinusoid" in page.text
    assert "completed 10 of 10 meta-steps." in page.text
    for title in ("Results", "Learning curve", "Protocol", "Environment", "Commands"):
        assert title in page.texts
    judged = trained.evaluations / "test"
    loss = json.loads((judged / "results.json").read_text())["metrics"]["query_loss"]
    assert f"{loss['mean'][2]:.4f} \u00b1 {loss['ci95'][2]:.4f}" in page.text
    assert "closed: over episodes that may share examples" in page.text
    assert page.pictures == 1 + len(list(judged.glob("*.png")))  # and the learning curve
    assert "Sinusoid (shots=10, queries=10" in page.text
    assert "3 test episodes, checkpoint best" in page.text
    assert f"torch {torch.__version__}" in page.text
    assert f"metaloop-train {' '.join(RUN)}" in page.text
    assert f"metaloop-resume {trained.path} training.max_steps=MORE" in page.text


def test_every_picture_of_a_run_is_titled_with_algorithm_task_and_run(trained):
    pictures = sorted(trained.path.rglob("*.png"))
    assert {path.stem for path in pictures} == {"adaptation_curve", "learning_curve", "one_task"}
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.info["Title"].startswith(f"maml on Sinusoid, run {trained.path.name}")


def test_the_page_of_an_evaluation(trained):
    page = page_of(trained.evaluations / "test")
    assert "Evaluation of maml on Sinusoid" in page.text
    assert "3 test episodes, mean and closed 95 % interval" in page.text
    assert "95 %, closed: over episodes that may share examples" in page.text
    assert f"metaloop-train {' '.join(RUN)}" in page.text  # the training judged itself
    assert f"metaloop-compare {trained.evaluations / 'test'} OTHER" in page.text


def test_the_page_of_an_adaptation(copied, tmp_path, said):
    run, points = copied(), tmp_path / "points.csv"
    points.write_text("x,y\n-1,-0.8\n0,0\n1,0.8\n")
    with pytest.raises(SystemExit) as end:  # the command becomes the worker
        said("adapt", str(run.path), f"support={points}", "name=mine")
    assert end.value.code == 0
    page = page_of(run.adaptations / "mine")
    assert "Judged by leaving out each support example in turn" in page.text
    assert "95 % interval over the examples of one task" in page.text
    assert f"metaloop-adapt {run.path}" in page.text
    assert page.pictures == 2


@pytest.mark.parametrize(
    ("state", "details", "says", "command"),
    [
        ("composed", {}, "It has not been started.", "python -m metaloop.run"),
        ("running", {"pid": os.getpid()}, "still going on", "metaloop-report"),
        ("running", {"pid": 2**22 + 1}, "killed", "metaloop-resume"),
        ("interrupted", {"reason": "SIGTERM"}, "can be resumed: SIGTERM", "metaloop-resume"),
        ("failed", {"error": "no <b>luck"}, "with an error: no <b>luck", "metaloop-resume"),
        ("diverged", {"reason": "at step 3"}, "no longer finite: at step 3", "--accept-changes"),
    ],
)
def test_a_run_that_has_not_completed_says_so(make_run, state, details, says, command):
    run = make_run()
    run.write_status(state, host=os.uname().nodename, **details)
    page = page_of(run.path)
    assert says in page.text
    assert "There are no results yet" in page.text
    assert "Nothing has been logged" in page.text
    assert command in page.text.rpartition("What to try next")[2]


def test_a_run_that_is_going_on_shows_what_there_is(make_run):
    run = make_run()
    run.metrics.write_text("step,train/query_loss\n3,2.0\n5,1.")  # a row is being written
    page = page_of(run.path)
    assert "3 of 10 meta-steps." in page.text
    assert page.pictures == 1


def test_a_damaged_file_costs_its_section_alone(copied):
    run, judged = copied(), RunFolder(copied("other").evaluations / "test")
    (judged.path / "one_task.png").write_bytes(b"\x89PN")
    assert "No picture one_task.png: it is no whole PNG file." in page_of(judged.path).text
    (run.evaluations / "test/results.json").write_text('{"metrics": {}}')
    run.environment.write_text('{"versions": ')
    run.metrics.write_text("step,val/query_loss\n1,many\n")
    page = page_of(run.path)
    for path in (run.evaluations / "test/results.json", run.environment, run.metrics):
        assert f"{path} cannot be read" in page.text
    assert "Sinusoid (shots=10" in page.text


def test_the_page_of_a_sweep_tells_of_every_job(copied):
    runs = {name: copied(name) for name in "abcd"}
    for number, run in enumerate(runs.values()):
        config = load_config(run)
        config["algorithm"] = {**config["algorithm"], "inner_lr": number / 10}
        rewrite_run(run, config, [f"algorithm.inner_lr={number / 10}"], [])
        run.write_status("completed")
    runs["b"].write_status("failed", error=f"UserError: {NASTY}")
    runs["c"].write_status("running", pid=os.getpid(), host=os.uname().nodename)
    runs["d"].metrics.unlink()
    runs["d"].metrics.mkdir()
    place = runs["a"].path.parent
    page = page_of(place)
    assert "4 jobs: 1 completed, 1 failed, 1 running, 1 unreadable." in page.text
    assert f"failed: {runs['b'].path} UserError: {NASTY}" in page.text
    assert "is a directory" in page.text
    assert page.pictures == 2  # results and validations
    assert "algorithm differs from job to job" in page.text
    assert f"metaloop-compare {place}" in page.text
    assert f"metaloop-report {place / 'a'}" in page.text


def test_what_users_name_stays_text(copied):
    run = copied("<script>alert(1)<")
    rewrite_run(run, load_config(run), [f"logger.x={NASTY}"], [])
    (run.path / "plots" / "caf\udce9<b>.png").write_bytes(
        (run.evaluations / "test/one_task.png").read_bytes()
    )
    page = page_of(run.path)
    assert "<script>alert(1)<" in page.text
    assert NASTY in page.text
    assert "caf\\xe9<b> (the last validation)" in page.text
