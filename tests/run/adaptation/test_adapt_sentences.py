"""A run trained on sentences adapts to a user's own, from a CSV file and in Python."""

import csv
import json

import pytest
import torch

from metaloop.errors import UserError
from metaloop.learner import Learner
from metaloop.run.adaptation.adapt import adapt
from metaloop.run.config.build import build
from metaloop.run.config.run_config import RunConfig

RUN = ("task=clinc150", "task.ways=3", "model.hidden_size=8", "algorithm.inner_lr=2")
SUPPORT = {
    "book a table for two tonight": "restaurant",
    "reserve a table at the pizza place": "restaurant",
    "what will the weather be tomorrow": "weather",
    "is rain coming this weekend": "weather",
    "play some quiet music": "music",
}
QUERY = ["a table for six please", "will the rain stop tomorrow", "play music"]


def write(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def wanted(**places):
    values = {"query": None, "steps": 30, "head": None, "checkpoint": "best"}
    return {**values, "skip_unusable": False, "export": [], **places}


def test_a_csv_of_sentences_is_adapted_to_predicted_and_exported(untrained, tmp_path):
    run = untrained(*RUN)
    support = write(tmp_path / "mine.csv", ["sentence", "label"], SUPPORT.items())
    query = write(tmp_path / "more.csv", ["sentence"], [[text] for text in QUERY])
    section = wanted(support=str(support), query=str(query), export=["pt2"])
    config = RunConfig.read(run).changed(command="adapt", adapt=section)
    folder = tmp_path / "adaptation"
    folder.mkdir()
    results = adapt(build(config), run, folder, [])
    assert results["protocol"]["examples"] == {"music": 1, "restaurant": 2, "weather": 2}

    adapted = Learner.load(run.path).adapt(list(SUPPORT), list(SUPPORT.values()), steps=30)
    probabilities = torch.from_numpy(adapted.predict_proba(QUERY))
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = ("music", "restaurant", "weather")
    found = torch.tensor([[float(row[f"p({name})"]) for name in names] for row in rows])
    torch.testing.assert_close(found, probabilities.float(), rtol=1e-4, atol=1e-5)
    assert adapted.score(list(SUPPORT), list(SUPPORT.values())) == 1

    extra = {"classes.json": ""}
    program = torch.export.load(folder / "adapted.pt2", extra_files=extra)
    assert json.loads(extra["classes.json"]) == list(names)
    tokens = adapted.task.encode(QUERY)
    torch.testing.assert_close(program.module()(tokens), probabilities)


@pytest.mark.parametrize(
    ("header", "rows", "says"),
    [
        (["text", "label"], [("a", "b")], "mine.csv has no column `sentence` .it has text, label"),
        (["sentence", "label"], [("a", "b"), ("c", "")], "'label' is missing in row 2. Fill it in"),
        (
            ["sentence", "label"],
            [("a", "b"), ("", "c")],
            "'sentence' is missing in row 2",
        ),
    ],
)
def test_a_csv_that_does_not_fit_is_refused(header, rows, says, untrained, tmp_path):
    run = untrained(*RUN)
    support = write(tmp_path / "mine.csv", header, rows)
    config = RunConfig.read(run).changed(command="adapt", adapt=wanted(support=str(support)))
    (tmp_path / "adaptation").mkdir()
    with pytest.raises(UserError, match=says):
        adapt(build(config), run, tmp_path / "adaptation", [])
