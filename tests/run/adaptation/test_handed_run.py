"""A run is handed on without the data that it was trained on: it adapts, predicts, is exported."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.learner import Learner
from metaloop.run.config.build import build
from metaloop.run.config.read import load_config
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.write import write_config
from metaloop.run.worker import work

IMAGES = ("model.filters=2", "norm_mode=inductive")


def write_images(folder, classes, each, mode="RGB"):
    """Class folders of images whose red says the class."""
    for c in range(classes):
        place = folder / f"kind {c}"
        place.mkdir(parents=True)
        for i in range(each):
            image = Image.new("RGB", (30, 28 + i), (25 * c, 9 * i, 0))
            image.convert(mode).save(place / f"{i}.png")


def write_table(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def image_folder(data, mine):
    write_images(data, 10, 2)
    write_images(mine, 2, 3)
    return (*IMAGES, "task=image_folder", "task.ways=2", "task.image_size=28"), mine


def grey_images(data, mine):
    write_images(data, 10, 2, mode="L")
    return (*IMAGES, "task=image_folder", "task.ways=2", "task.image_size=28"), mine


def classification(data, mine):
    rows = [(c + 0.1 * i, -c, f"kind {c}") for c in range(10) for i in range(2)]
    write_table(data / "own.csv", ("a", "b", "label"), rows)
    write_table(mine.with_suffix(".csv"), ("a", "b", "label"), rows[:4])
    return ("task=arrays", "task.file=own.csv", "task.ways=2"), mine.with_suffix(".csv")


def regression(data, mine):
    data.mkdir()
    x, task = np.linspace(-1, 1, 18)[:, None], np.arange(18) % 3
    np.savez(data / "own.npz", features=x, y=x[:, 0] ** 2, task=task)
    write_table(mine.with_suffix(".csv"), ("x", "y"), [(0, 0), (1, 1), (2, 4)])
    own = ("task=arrays", "task.file=own.npz", "task.kind=regression", "task.target=y")
    own = (*own, "task.shots=1")
    return (*own, "task.split_fractions=[0.34,0.33,0.33]"), mine.with_suffix(".csv")


def sentences(data, mine):
    data.mkdir()
    for split in ("train", "valid", "test"):
        rows = [{"sentence": f"{split} {c} {i}", "label": split + c} for c in "ab" for i in "12"]
        (data / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    write_table(mine.with_suffix(".csv"), ("sentence", "label"), [("one", "a"), ("two", "b")])
    size = ("model.hidden_size=4", "task.vocabulary_size=50", "task.classes=6", "task.ways=2")
    return ("task=clinc150", *size), mine.with_suffix(".csv")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Where images are decoded to."""
    monkeypatch.setenv("METALOOP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def handed(untrained, tmp_path):
    """A run of a family of tasks in another place, its data gone, and examples to adapt it to."""

    def hand(family):
        arguments, mine = family(tmp_path / "data", tmp_path / "mine")
        folder = untrained(*arguments, "task.queries=1", f"task.data_dir={tmp_path / 'data'}")
        # as its training does
        write_config(folder, build(RunConfig.read(folder)).whole_config().content)
        shutil.rmtree(tmp_path / "data")
        return RunFolder(folder.path.rename(tmp_path / "colleague")), mine

    return hand


@pytest.mark.parametrize(
    "family", [image_folder, classification, regression, sentences], ids=lambda f: f.__name__
)
def test_it_needs_neither_the_data_nor_to_know_where_they_were(family, handed, said):
    run, mine = handed(family)
    for nowhere in ((), ("task.data_dir=null",)):
        done = ("adapt", str(run.path), f"support={mine}", f"query={mine}", "name=mine", *nowhere)
        assert "Composed" in said(*done, "compose_only=true").out
    learner = Learner.load(run.path)
    given = learner.task.read_examples(mine, skip_unusable=False)
    assert len(learner.adapt(given.inputs, given.labels).predict(given.inputs)) == len(given.names)


def test_its_command_predicts_what_it_does_in_python(handed, said):
    run, mine = handed(image_folder)
    said("adapt", str(run.path), f"support={mine}", f"query={mine}", "compose_only=true")
    assert work([str(run.adaptations / "mine")]) == 0
    with (run.adaptations / "mine" / "predictions.csv").open() as file:
        found = [[float(row[f"p(kind {c})"]) for c in range(2)] for row in csv.DictReader(file)]
    learner = Learner.load(run.path)
    given = learner.task.read_examples(mine, skip_unusable=False)
    expected = learner.adapt(given.inputs, given.labels).predict_proba(given.inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("command", ["evaluate", "resume"])
def test_what_draws_episodes_says_that_the_data_are_gone_and_makes_no_folder(command, handed, said):
    run, _ = handed(image_folder)
    heard = said(command, str(run.path), status=1)
    assert re.search(r"There is no task.data_dir=.*data. Set task.data_dir to a", heard.err)
    assert not run.evaluations.exists()


def test_images_that_were_all_alike_are_so_for_whoever_adapts(handed, tmp_path):
    """A run with task.channels=null has read them: of other channels it asks what to do."""
    run, _ = handed(grey_images)
    task = load_config(run)["task"]
    assert (task["channels"], task["alike"], task["classes"]) == (1, True, 10)
    write_images(tmp_path / "coloured", 2, 1)
    learner = Learner.load(run.path)
    assert learner.task.input_shape == (1, 28, 28)
    with pytest.raises(UserError, match=r"is coloured, not grey: .*task\.alike=false"):
        learner.task.read_examples(tmp_path / "coloured", skip_unusable=False)
