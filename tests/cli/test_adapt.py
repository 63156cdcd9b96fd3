"""metaloop-adapt as a user types it."""

import csv
import json
import os
import re

import pytest

from tests.conftest import run_command

POINTS = "x,y\n-2,-0.9\n-1,-0.8\n0,0\n1,0.8\n2,0.9\n"


@pytest.fixture
def run(untrained):
    return untrained().path


@pytest.fixture
def points(tmp_path):
    """A place whose name Hydra's grammar would not take as it is."""
    place = tmp_path / "my points (1), a=b"
    place.mkdir()
    (place / "points.csv").write_text(POINTS)
    return place / "points.csv"


def test_it_adapts_predicts_and_exports_in_a_folder_of_its_own(run, points, said):
    done = run_command(
        "metaloop-adapt",
        f"run={run}",
        f"support={points}",
        f"query={points}",
        "steps=4",
        "export=pt2",
        "algorithm.inner_lr=0.05",
        cold=True,
    )
    assert done.returncode == 0, done.stderr
    folder = run / "adaptations" / "points"
    made = {p.name for p in folder.iterdir()} - {".lock"}
    assert made == {
        "config.yaml",
        "overrides.yaml",
        "status.json",
        "results.json",
        "predictions.csv",
        "adaptation_curve.png",
        "fit.png",
        "adapted.pt",
        "adapted.safetensors",
        "adapted.pt2",
        "adapted.txt",
    }
    assert json.loads((folder / "status.json").read_text())["state"] == "completed"
    results = json.loads((folder / "results.json").read_text())
    assert results["protocol"]["inner_lr"] == 0.05
    assert results["protocol"]["steps"] == 4
    assert "query loss: " in done.stdout
    with (folder / "predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 5

    # a second one does not overwrite it, unless it is named
    for name, place in ((None, "points-2"), ("points", "points")):
        named = [] if name is None else [f"name={name}"]
        out = said("adapt", f"run={run}", f"support={points}", "compose_only=true", *named).out
        assert f"python -m metaloop.run {run}/adaptations/{place}\n" in out


def test_help_helps_at_once_says_what_is_trusted_and_needs_no_torch(tmp_path):
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    done = run_command("metaloop-adapt", "--help", cwd=tmp_path, env=environment, cold=True)
    assert done.returncode == 0
    assert not re.search(r"\| +torch$", done.stderr, re.MULTILINE)
    assert "only folders that you trust" in done.stdout
    for key in ("support", "query", "steps", "head", "norm_mode", "skip_unusable", "export"):
        assert f"\n  {key} " in done.stdout


def test_a_key_of_an_old_name_goes_on_and_the_new_one_is_told(run, points, said):
    old = (f"run={run}", f"support={points}", "skip_odd_files=true")
    heard = said("adapt", *old, "steps=-1", status=1).err
    assert "skip_odd_files is now called skip_unusable" in heard
    assert "Error: steps=-1" in heard  # nothing else is wrong


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "metaloop-adapt needs the run: metaloop-adapt outputs/FOLDER"),
        (["run=nowhere"], "There is no folder nowhere"),
        (["run={run}"], "support"),
        (["run={run}", "support=nowhere"], "There is no support=nowhere. Name a folder"),
        (["run={run}", "support={here}/a.txt"], r"is a .txt, not a folder or .csv"),
        (["run={run}", "support={points}", "query=gone"], "There is no query=gone"),
        (["run={run}", "support={points}", "steps=-1"], "steps=-1 .* greater than or equal to 0"),
        (["run={run}", "support={points}", "head=new"], "head='new' .*'fresh' or 'mean'"),
        (["run={run}", "support={points}", "export=tflite"], r"export=.*'pt2' or 'onnx'"),
        (["run={run}", "support={points}", "checkpoint=x"], "checkpoint='x'"),
        (["run={run}", "support={points}", "stps=1"], "stps is unknown. Did you mean steps"),
        (["run={run}", "support={points}", "name=../x"], "name=../x names a folder"),
        (["run={images}", "support={here}", "export=pt2"], "depends on .* norm_mode=inductive"),
        (["run={fresh}", "support={points}"], "has no checkpoint yet. Train it first"),
    ],
)
def test_mistakes_are_refused_before_a_folder_is_made(
    arguments, says, run, points, make_run, untrained, tmp_path, said
):
    (tmp_path / "a.txt").write_text("")
    places = {"run": run, "points": points, "here": tmp_path, "fresh": make_run().path}
    if "run={images}" in arguments:
        places["images"] = untrained("task=omniglot", "model.filters=2").path
    heard = said("adapt", *(a.format(**places) for a in arguments), status=1)
    assert re.search(says, heard.err)
    assert not (run / "adaptations").exists()
