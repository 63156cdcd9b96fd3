"""Adapting to a user's files: what is read, what is judged, what is written."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from metaloop.errors import UserError
from metaloop.learner import Learner
from metaloop.run.adaptation.adapt import adapt
from metaloop.run.checkpoints.initial_weights import load_initial_weights
from metaloop.run.config.build import build
from metaloop.run.config.run_config import RunConfig
from tests.conftest import striped

IMAGES = ("task=omniglot", "model.filters=4", "algorithm.inner_lr=0.5")
WANTED = {
    "query": None,
    "steps": None,
    "head": None,
    "checkpoint": "best",
    "skip_unusable": False,
    "export": [],
}


@pytest.fixture
def adapted(tmp_path):
    """Adapt a run to files; return what is written."""

    def work(run, **wanted):
        folder = tmp_path / "adaptation"
        folder.mkdir()
        section = {**WANTED, **{k: str(v) if k != "export" else v for k, v in wanted.items()}}
        if "steps" in wanted:
            section["steps"] = wanted["steps"]
        section["skip_unusable"] = wanted.get("skip_unusable", False)
        config = RunConfig.read(run).changed(command="adapt", adapt=section)
        adapt(build(config), run, folder, [])
        return folder

    return work


def write_images(folder, pixels, labels=None, mode="L"):
    """PNG files in class folders, or without labels in one."""
    for i, image in enumerate(pixels):
        place = folder if labels is None else folder / f"letter {labels[i]}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).convert(mode).save(place / f"{i:02d}.png")
    return folder


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def by_python(run, x, y, x_new, **options):
    """Omniglot's files are black on white, its images white on black."""
    adapted = Learner.load(run.path).adapt(255 - x, [f"letter {c}" for c in y], **options)
    return adapted, adapted.predict_proba(255 - x_new)


def test_class_folders_are_adapted_to_and_images_without_labels_predicted(
    untrained, adapted, tmp_path
):
    run = untrained(*IMAGES, "norm_mode=inductive")
    x, y = striped(3, 3)
    keep = [0, 1, 2, 3, 4, 6, 7, 8]  # uneven shots
    x_new, _ = striped(3, 2, seed=1)
    support = write_images(tmp_path / "support", x[keep], y[keep])
    query = write_images(tmp_path / "query", x_new)
    folder = adapted(run, support=support, query=query, steps=12)

    mine, probabilities = by_python(run, x[keep], y[keep], x_new, steps=12)
    rows = rows_of(folder / "predictions.csv")
    assert [row["file"] for row in rows] == [f"{i:02d}.png" for i in range(6)]
    assert "label" not in rows[0]
    found = [[float(row[f"p(letter {c})"]) for c in range(3)] for row in rows]
    np.testing.assert_allclose(found, probabilities, rtol=1e-5)
    assert [row["predicted"] for row in rows] == mine.predict(255 - x_new).tolist()

    saved = torch.load(folder / "adapted.pt", weights_only=True)
    assert saved["classes"] == [f"letter {c}" for c in range(3)]
    for name, p in mine.phi.items():
        torch.testing.assert_close(saved["state_dict"][name], p)
    results = json.loads((folder / "results.json").read_text())
    assert results["protocol"]["examples"] == {"letter 0": 3, "letter 1": 2, "letter 2": 3}
    assert (results["judged_by"], results["protocol"]["steps"]) == ("leave_one_out", 12)
    assert len(results["metrics"]["accuracy"]["mean"]) == 13
    assert (folder / "adaptation_curve.png").stat().st_size > 5000


def test_a_labelled_query_judges_the_curve_and_keeps_its_labels(untrained, adapted, tmp_path):
    run = untrained(*IMAGES)
    x, y = striped(2, 2)
    x_new, y_new = striped(2, 5, seed=1)
    support = write_images(tmp_path / "support", x, y)
    query = write_images(tmp_path / "query", x_new, y_new)
    folder = adapted(run, support=support, query=query, steps=3)
    rows = rows_of(folder / "predictions.csv")
    assert [row["label"] for row in rows] == [f"letter {c}" for c in y_new]
    assert rows[0]["file"] == "letter 0/00.png"
    results = json.loads((folder / "results.json").read_text())
    assert results["judged_by"] == "query"
    accuracy, loss = results["metrics"]["accuracy"], results["metrics"]["query_loss"]
    right = np.mean([row["label"] == row["predicted"] for row in rows])
    assert accuracy["mean"][-1] == pytest.approx(right)
    assert accuracy["examples"] == 10
    surprise = [-np.log(float(row[f"p({row['label']})"])) for row in rows]
    assert loss["mean"][-1] == pytest.approx(np.mean(surprise), rel=1e-4)
    width = 2.2622 * np.std(surprise, ddof=1) / 10**0.5
    assert loss["ci95"][-1] == pytest.approx(width, rel=1e-4)


def test_leaving_one_out_adapts_anew_without_each_example(untrained, adapted, tmp_path):
    run = untrained(*IMAGES, "norm_mode=inductive")
    x, y = striped(3, 2)
    x, y = x[[0, 1, 2, 3, 4]], y[[0, 1, 2, 3, 4]]  # the last class has one example, which stays
    folder = adapted(run, support=write_images(tmp_path / "support", x, y), steps=2)
    metrics = json.loads((folder / "results.json").read_text())["metrics"]
    assert metrics["query_loss"]["examples"] == 4
    losses = []
    for i in range(4):
        rest = [j for j in range(5) if j != i]
        _, probabilities = by_python(run, x[rest], y[rest], x[[i]], steps=2)
        losses.append(-np.log(probabilities[0, y[i]]))
    assert metrics["query_loss"]["mean"][-1] == pytest.approx(np.mean(losses), rel=1e-4)


def test_one_example_left_out_is_normalised_by_the_support_set_where_queries_are_together(
    untrained, adapted, tmp_path
):
    x, y = striped(2, 2)
    support = write_images(tmp_path / "support", x, y)
    folder = adapted(untrained(*IMAGES), support=support)
    results = json.loads((folder / "results.json").read_text())
    assert results["protocol"]["norm_mode"] == "transductive"
    assert (results["judged_by"], results["norm_mode_of_judge"]) == ("leave_one_out", "inductive")


def test_one_example_a_class_leaves_nothing_to_leave_out(untrained, adapted, tmp_path):
    x, y = striped(3, 1)
    support = write_images(tmp_path / "support", x, y)
    results = adapted(untrained(*IMAGES), support=support) / "results.json"
    content = json.loads(results.read_text())
    assert content["judged_by"] == "support"
    assert set(content["metrics"]) == {"support_loss", "support_accuracy"}


def test_a_csv_of_paths_and_labels_serves_as_well(untrained, adapted, tmp_path):
    run = untrained(*IMAGES, "norm_mode=inductive")
    x, y = striped(2, 2)
    write_images(tmp_path / "all", x)
    support, query = tmp_path / "support.csv", tmp_path / "query.csv"
    support.write_text(
        "path,label\n" + "".join(f"all/{i:02d}.png,letter {c}\n" for i, c in enumerate(y))
    )
    query.write_text("path\nall/00.png\nall/03.png\n")
    rows = rows_of(adapted(run, support=support, query=query) / "predictions.csv")
    _, probabilities = by_python(run, x, y, x[[0, 3]])
    assert [row["file"] for row in rows] == ["all/00.png", "all/03.png"]
    assert float(rows[1]["p(letter 1)"]) == pytest.approx(probabilities[1, 1], rel=1e-5)


def test_a_table_of_numbers_is_fitted(untrained, adapted, tmp_path):
    run = untrained()
    x = np.linspace(-3, 3, 9)
    support, query = tmp_path / "points.csv", tmp_path / "more.csv"
    support.write_text("x,y\n" + "".join(f"{a},{np.sin(a)}\n" for a in x))
    query.write_text("y,x\n0.5,0.5\n-1,2\n")
    rows = rows_of(adapted(run, support=support, query=query) / "predictions.csv")
    expected = Learner.load(run.path).adapt(x, np.sin(x)).predict([0.5, 2.0])
    assert [(row["row"], row["x"], row["y"]) for row in rows] == [
        ("1", "0.5", "0.5"),
        ("2", "2", "-1.0"),
    ]
    assert [float(row["predicted"]) for row in rows] == pytest.approx(expected.tolist(), rel=1e-5)


def test_an_adaptation_made_anew_removes_what_the_old_one_made_and_nothing_else(
    untrained, tmp_path
):
    run, folder = untrained(), tmp_path
    (tmp_path / "points.csv").write_text("x,y\n0,1\n1,2\n2,2\n")  # the user's own, there too
    for query in (str(tmp_path / "points.csv"), None):
        section = {**WANTED, "support": str(tmp_path / "points.csv"), "query": query}
        config = RunConfig.read(run).changed(command="adapt", adapt=section)
        adapt(build(config), run, folder, [])
        assert (folder / "predictions.csv").exists() is (query is not None)
    assert {"points.csv", "fit.png", "adapted.pt"} <= {p.name for p in folder.iterdir()}


def test_adapted_weights_start_another_run(untrained, adapted, tmp_path):
    run = untrained(*IMAGES)
    x, y = striped(5, 1)
    file = adapted(run, support=write_images(tmp_path / "support", x, y)) / "adapted.pt"
    pieces = build(RunConfig.read(run))
    load_initial_weights(pieces.meta_learner, file)
    saved = torch.load(file, weights_only=True)["state_dict"]
    for name, p in pieces.meta_learner.model.state_dict().items():
        assert torch.equal(p, saved[name])


def test_sentences_are_adapted_to_and_predicted(untrained, adapted, tmp_path):
    run = untrained("task=clinc150", "algorithm.inner_lr=1.0")
    sentences = ["book a flight", "what is my balance", "fly me to rome", "balance, please"]
    labels = ["travel", "bank", "travel", "bank"]
    support, query = tmp_path / "few.csv", tmp_path / "rest.csv"
    rows = [f'"{s}",{c}' for s, c in zip(sentences, labels, strict=True)]
    support.write_text("\n".join(["sentence,label", *rows]))
    query.write_text("sentence\na flight to rome\n")
    folder = adapted(run, support=support, query=query, steps=20, export=["pt2"])
    mine = Learner.load(run.path).adapt(sentences, labels, steps=20)
    (row,) = rows_of(folder / "predictions.csv")
    (probability,) = mine.predict_proba(["a flight to rome"])[:, 1]
    assert (row["sentence"], row["predicted"]) == ("a flight to rome", "travel")
    assert float(row["p(travel)"]) == pytest.approx(probability, rel=1e-5)
    tokens = mine.to_inputs(["a flight to rome", "my balance", "fly"])
    program = torch.export.load(folder / "adapted.pt2").module()
    assert float(program(tokens)[0, 1]) == pytest.approx(probability, rel=1e-5)
    Learner.load(run.path).export(tmp_path / "learner.pt2")  # it takes token numbers too
    assert torch.export.load(tmp_path / "learner.pt2").module()(tokens).shape == (3, 5)


def test_more_classes_than_the_runs_are_told_of_the_choice(untrained, adapted, tmp_path):
    x, y = striped(7, 2)
    support = write_images(tmp_path / "support", x, y)
    run = untrained(*IMAGES)
    with pytest.raises(UserError, match="Choose head=mean"):
        adapted(run, support=support)
    (tmp_path / "adaptation").rmdir()
    folder = adapted(run, support=support, head="mean", query=support)
    assert len(rows_of(folder / "predictions.csv")[0]) == 3 + 7
    saved = torch.load(folder / "adapted.pt", weights_only=True)["state_dict"]
    assert saved["head.weight"].shape == (7, 4)


def lay_out(place, what):
    """A support and a query folder with one thing wrong."""
    x, y = striped(2, 2)
    support, query = place / "support", place / "query"
    write_images(support, x, y)
    write_images(query, x)
    if what == "missing":
        support = place / "nowhere"
    elif what == "empty":
        support = place / "empty"
        support.mkdir()
    elif what == "empty class":
        (support / "letter 9").mkdir()
    elif what == "text":
        (support / "letter 0" / "notes.txt").write_text("hello")
    elif what == "stray":
        write_images(support, x[:1])
    elif what == "broken":
        whole = (support / "letter 1" / "02.png").read_bytes()
        (support / "letter 1" / "02.png").write_bytes(whole[:150])
    elif what == "colour":
        write_images(query, x[:1], mode="RGB")
    elif what == "one class":
        support = write_images(place / "one", x[:2], y[:2])
    elif what == "no labels":
        support = query
    elif what == "other class":
        query = write_images(place / "other", x, y + 1)
    elif what == "numbers":
        support = place / "numbers.csv"
        support.write_text("x,label\n1,a\n")
    elif what == "unknown file":
        support = place / "list.csv"
        support.write_text("path,label\nquery/00.png,a\nquery/99.png,b\n")
    elif what == "no label":
        support = place / "list.csv"
        support.write_text("path,label\nquery/00.png,a\nquery/01.png,\n")
    return support, query


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("empty", r"empty is empty. Add images"),
        ("empty class", r"letter 9 is empty"),
        ("text", r"letter 0/notes.txt is not a readable image .* skip_unusable=true"),
        ("stray", r"support/00.png is next to the class folders. Repair or remove"),
        ("broken", r"letter 1/02.png is not a readable image"),
        ("one class", r"only one class \('letter 0'\)"),
        ("no labels", r"has no labels to adapt to. Make a folder for each class"),
        ("other class", r"letter 2/02.png has class 'letter 2', but .*support has no"),
        ("numbers", r"columns x, label, but the run was trained on images. Add a column `path`"),
        ("unknown file", r"list.csv lists files that do not exist:\s+.*query/99.png"),
        ("no label", r"list.csv: 'label' is missing in row 2"),
    ],
)
def test_what_is_wrong_with_images_is_named_with_its_file(what, says, untrained, adapted, tmp_path):
    support, query = lay_out(tmp_path, what)
    with pytest.raises(UserError, match=says):
        adapted(untrained("task=omniglot", "model.filters=2"), support=support, query=query)


def test_odd_files_are_skipped_by_name_where_that_is_asked_for(
    untrained, adapted, tmp_path, capsys
):
    support, _ = lay_out(tmp_path, "text")
    lay_out(tmp_path, "broken")
    folder = adapted(untrained(*IMAGES), support=support, skip_unusable=True)
    skipped = json.loads((folder / "results.json").read_text())["skipped"]
    assert len(skipped) == 2
    assert "notes.txt is not a readable image" in skipped[0]
    assert "Skipped:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("support", "query", "says"),
    [
        ("x,y\n1,2\nnan,3\n", None, r"support.csv has missing or infinite cells: 'x' in row 2"),
        ("x,y\n1,2\n2,\n", None, r"missing or infinite cells: 'y' in row 2"),
        ("x,y\n1,two\n", None, r"'y' has 'two' in row 1, which is not a number"),
        ("x,z,y\n1,2,3\n", None, r"has 2 features \(x, z\), but the run was trained on 1"),
        ("x,y\n1,2,3\n", None, r"row 1 has 3 values, but the first line names 2 columns \(x, y\)"),
        ("x,x\n1,2\n", None, "names the column 'x' twice"),
        ("x,y\n", None, "has no rows, but needs one per example"),
        ("x\n1\n", None, "has no labels to adapt to"),
        ("x,y\n1,2\n", "z\n1\n", r"query.csv lacks x of the learner's features \(x\); it has z"),
    ],
)
def test_what_is_wrong_with_a_table_is_named_with_its_row(
    support, query, says, untrained, adapted, tmp_path
):
    (tmp_path / "support.csv").write_text(support)
    wanted = {"support": tmp_path / "support.csv"}
    if query is not None:
        (tmp_path / "query.csv").write_text(query)
        wanted["query"] = tmp_path / "query.csv"
    with pytest.raises(UserError, match=says):
        adapted(untrained(), **wanted)


def test_a_folder_for_a_run_on_numbers_is_refused(untrained, adapted, tmp_path):
    support, _ = lay_out(tmp_path, "fine")
    with pytest.raises(UserError, match="trained on rows of 1 numbers. Name a CSV file"):
        adapted(untrained(), support=support)
