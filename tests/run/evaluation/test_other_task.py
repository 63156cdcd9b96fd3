"""Evaluating on other data asks only for the split that it uses, and says which classes it met."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.build import build
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.write import write_config
from metaloop.run.evaluation.other_task import fit_to_run
from metaloop.run.worker import work
from metaloop.tasks import RandomStreams
from tests.conftest import SMALL, composed

CLASSES = [f"new {c}" for c in range(7)]
EPISODES = ("task.queries=1", "evaluation.episodes=20")


def write_images(folder, classes, size=28):
    for c, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(3):
            image = Image.new("L", (size, size + i), 30 * c)
            image.paste(255, (0, 0, 5 + i, 5))
            image.save(folder / name / f"{i}.png")


def image_folder(data, other):
    write_images(data, [f"c{c}" for c in range(25)])
    write_images(other, CLASSES)
    return ("task=image_folder", "model.filters=2", "task.image_size=28"), "task.fractions=[0,0,1]"


def folder_of_tests(data, other):
    own, _ = image_folder(data, other / "test")
    return own, "task.split=folders"


def arrays(data, other):
    for place, names in ((data, [f"c{c}" for c in range(25)]), (other, CLASSES)):
        place.mkdir()
        rows = np.random.default_rng(0).normal(size=(3 * len(names), 2))
        np.savez(place / "own.npz", features=rows, label=np.repeat(names, 3))
    return ("task=arrays", "task.file=own.npz"), "task.split_fractions=[0,0,1]"


def sentences(data, other):
    names = {s: [f"{s} {c}" for c in range(5)] for s in ("train", "valid", "test")}
    for place, splits in ((data, names), (other, {"test": CLASSES})):
        place.mkdir()
        for split, labels in splits.items():
            rows = [{"sentence": f"{name} {i}", "label": name} for name in labels for i in range(3)]
            (place / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return ("task=clinc150", "task.classes=15", "model.hidden_size=4"), None


@pytest.fixture
def composed_on_others(untrained, said, tmp_path, monkeypatch):
    """Compose an evaluation on seven classes that the run was not trained with."""
    monkeypatch.setenv("METALOOP_CACHE", str(tmp_path / "cache"))

    def compose(family):
        data, other = tmp_path / "data", tmp_path / "other"
        arguments, rule = family(data, other)
        run = untrained(*arguments, *EPISODES, f"task.data_dir={data}")
        write_config(run, build(RunConfig.read(run)).whole_config().content)
        changes = [f"task.data_dir={other}", *([rule] if rule else []), "name=other"]
        said("evaluate", str(run.path), *changes, "compose_only=true")
        return RunFolder(run.evaluations / "other")

    return compose


@pytest.mark.parametrize(
    "family", [image_folder, folder_of_tests, sentences], ids=lambda f: f.__name__
)
def test_seven_classes_make_episodes_though_none_is_left_to_train_on(family, composed_on_others):
    task = build(RunConfig.read(composed_on_others(family))).task
    task.prepare()
    task.setup()
    drawn = task.draw("test", RandomStreams(0, "test", torch.arange(20))).classes.unique()
    names = [task.class_name(int(c)).rpartition("/")[2] for c in drawn]
    assert sorted(names) == CLASSES


def test_an_evaluation_says_which_classes_it_met(composed_on_others, capsys):
    folder = composed_on_others(arrays)
    assert work([str(folder.path)]) == 0
    results = json.loads((folder.path / "results.json").read_text())
    assert results["classes"] == CLASSES
    assert results["protocol"]["data_dir"].endswith("other")
    assert "Classes met: 7" in capsys.readouterr().out


def test_training_asks_for_all_three_splits(tmp_path):
    arguments, _ = arrays(tmp_path / "data", tmp_path / "other")
    content = composed(*SMALL, *arguments, *EPISODES, f"task.data_dir={tmp_path / 'other'}")
    with pytest.raises(UserError, match="needs 5 classes, but the validation split has 1"):
        build(RunConfig.of(content)).task.setup()


def test_another_table_is_read_by_the_runs_names_and_scale(tmp_path):
    rows = [f"{c + r},{100 * c},{'abcdefghij'[c]}" for c in range(10) for r in range(2)]
    (tmp_path / "own.csv").write_text("\n".join(["dose,age,label", *rows]))
    (tmp_path / "other.csv").write_text("age,more,dose,label\n1,2,3,a\n")
    place = ("task=arrays", f"task.data_dir={tmp_path}", "task.ways=2", "task.queries=1")
    asked = composed(*place, "task.file=own.csv", "task.standardise=train")
    trained = build(RunConfig.of(asked)).whole_config()
    other = RunConfig.of(composed(*place, "task.file=other.csv"))
    judged = fit_to_run(other, trained, RunFolder(tmp_path))
    assert judged.task["file"] == "other.csv"
    for key in ("features", "standardise", "feature_means", "feature_spreads"):
        assert judged.task[key] == trained.task[key]
    assert judged.task["features"] == ["dose", "age"]
