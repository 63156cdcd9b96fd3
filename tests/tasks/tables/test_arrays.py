"""A user's own arrays: episodes of the file's rows, and errors that name file, rule, remedy."""

import pickle
from itertools import islice

import numpy as np
import pytest
import torch
import yaml

from metaloop.cli.hydra_app import CONF
from metaloop.errors import UserError
from metaloop.run.config.read import load_config
from metaloop.run.train import train
from metaloop.tasks import RandomStreams, arrays
from metaloop.training.datamodule import EpisodicDataModule

CLASSES = 10


def make(folder, file, **changes):
    values = yaml.safe_load((CONF / "task" / "arrays.yaml").read_text())
    del values["_target_"]
    ours = {"shots": 1, "queries": 2, "data_dir": str(folder), "file": file}
    if changes.get("kind") != "regression":
        ours["ways"] = 2
    return arrays(**{**values, **ours, **changes})


def labelled(rows=40):
    """Row r is of class r % 10 and says so: features (r, class)."""
    row = np.arange(rows)
    return np.stack([row, row % CLASSES], 1).astype(np.float32), row % CLASSES


def write_csv(path, header, rows):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")


def write(folder, ending):
    """The same labelled rows in any of the kinds of file; returns its name."""
    features, labels = labelled()
    named = [f"class {label}" for label in labels]
    if ending == "npz":
        np.savez(folder / "own.npz", features=features, label=np.array(named))
    elif ending == "csv":
        rows = zip(*features.T, named, strict=True)
        write_csv(folder / "own.csv", "row,number,label", rows)
    else:
        pyarrow, parquet = (pytest.importorskip(n) for n in ("pyarrow", "pyarrow.parquet"))
        columns = {"row": features[:, 0], "number": features[:, 1], "label": named}
        parquet.write_table(pyarrow.table(columns), folder / "own.parquet")
    return f"own.{ending}"


def episodes(task, split="train", count=50, seed=0):
    task.setup()
    return task.gather(
        task.draw(split, RandomStreams(seed, split, torch.arange(count))), torch.float32
    )


@pytest.mark.parametrize("ending", ["npz", "csv", "parquet"])
def test_episodes_hold_rows_of_the_drawn_classes_each_once(ending, tmp_path):
    task = make(tmp_path, write(tmp_path, ending))
    assert task.input_shape == (2,)
    assert (task.classes, task.output_size) == (10, 2)
    episode = episodes(task)
    assert episode.support.inputs.shape == (50, 2, 2)
    assert episode.query.inputs.shape == (50, 4, 2)
    inputs = torch.cat([episode.support.inputs, episode.query.inputs], 1).long()
    labels = torch.cat([episode.support.targets, episode.query.targets], 1)
    names = [task.class_name(i) for i in range(10)]
    for rows, targets, classes in zip(inputs, labels, episode.classes, strict=True):
        assert [f"class {int(r[1])}" for r in rows] == [names[classes[t]] for t in targets]
        assert len(rows[:, 0].unique()) == len(rows)


def test_all_kinds_of_file_make_the_same_episodes(tmp_path):
    first, *others = (episodes(make(tmp_path, write(tmp_path, e))) for e in ("csv", "npz"))
    for other in others:
        assert torch.equal(first.support.inputs, other.support.inputs)
        assert torch.equal(first.query.targets, other.query.targets)


def test_the_seed_divides_the_classes_and_every_class_is_in_one_split(tmp_path):
    file = write(tmp_path, "csv")
    seen = {
        s: set(episodes(make(tmp_path, file), s).classes.unique().tolist())
        for s in ("train", "validation", "test")
    }
    assert [len(classes) for classes in seen.values()] == [6, 2, 2]
    assert set().union(*seen.values()) == set(range(10))
    other = make(tmp_path, file, split_seed=1)
    assert set(episodes(other, "test").classes.unique().tolist()) != seen["test"]


def test_a_column_may_give_the_split(tmp_path):
    rows = [(r, r % 6, ("train", "val", "test")[r % 6 // 2]) for r in range(24)]
    write_csv(tmp_path / "own.csv", "x,label,part", rows)
    task = make(tmp_path, "own.csv", split_column="part")
    assert task.input_shape == (1,)  # neither label nor split are features
    for split, classes in (("train", {0, 1}), ("validation", {2, 3}), ("test", {4, 5})):
        assert set(episodes(task, split).classes.unique().tolist()) == classes


def curves(tasks=10, rows=6):
    """Data set t is the line y = t x, z = -t x."""
    t = np.repeat(np.arange(tasks), rows)
    x = np.linspace(0.5, 2, tasks * rows)
    return {"task": t, "features": x, "y": t * x, "z": -t * x}


def test_a_regression_draws_each_episode_from_one_data_set(tmp_path):
    np.savez(tmp_path / "own.npz", **curves())
    task = make(tmp_path, "own.npz", kind="regression", target=["y", "z"], shots=3, queries=3)
    assert (task.input_shape, task.output_size) == ((1,), 2)
    episode = episodes(task)
    assert episode.support.inputs.shape == (50, 3, 1)
    assert episode.query.targets.shape == (50, 3, 2)
    assert episode.classes.shape == (50, 0)
    x = torch.cat([episode.support.inputs, episode.query.inputs], 1)
    y = torch.cat([episode.support.targets, episode.query.targets], 1)
    slopes = y[..., 0] / x[..., 0]
    torch.testing.assert_close(slopes, slopes[:, :1].round().expand(50, 6))
    torch.testing.assert_close(y[..., 1], -y[..., 0])
    assert (x[..., 0].sort(1).values.diff(dim=1) > 0).all()  # no row twice


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_workers_change_no_episode(kind, tmp_path):
    np.savez(tmp_path / "own.npz", **curves(), label=curves()["task"])
    task = make(tmp_path, "own.npz", kind=kind, target="label" if kind[0] == "c" else "y")
    task.setup()
    alone, helped = (
        EpisodicDataModule(task, seed=1, meta_batch_size=3, workers=workers) for workers in (0, 2)
    )
    batches = (islice(iter(data.train_dataloader()), 4) for data in (alone, helped))
    for one, other in zip(*batches, strict=True):
        assert torch.equal(one.episodes.rows, other.episodes.rows)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_learner_is_trained_and_evaluated_on_own_arrays(kind, tmp_path, make_run, capsys):
    np.savez(tmp_path / "own.npz", **curves(), label=curves()["task"])
    target = "label" if kind == "classification" else "y"
    folder = make_run(
        "task=arrays",
        f"task.data_dir={tmp_path}",
        "task.file=own.npz",
        f"task.kind={kind}",
        f"task.target={target}",
        *(["task.ways=2"] if kind == "classification" else ["task.shots=2"]),
        "task.queries=2",
        "training.max_steps=2",
    )
    train(folder)
    assert f"Features: 1 numbers in 'features'. Target: {target}" in capsys.readouterr().out
    assert '"file": "own.npz"' in (folder.evaluations / "test" / "results.json").read_text()


def test_a_runs_config_gets_what_was_read_and_needs_the_file_no_more(tmp_path, make_run):
    file = write(tmp_path, "csv")
    own = (f"task.data_dir={tmp_path}", f"task.file={file}", "task.ways=2", "task.queries=2")
    folder = make_run("task=arrays", *own, "training.max_steps=0")
    train(folder)
    written = load_config(folder)["task"]
    assert (written["input_shape"], written["classes"]) == ([2], 10)
    (tmp_path / file).unlink()
    del written["_target_"]
    assert arrays(**written).input_shape == (2,)


def csv_of(*rows, header="x,label"):
    return lambda path: write_csv(path / "own.csv", header, rows)


def npz_of(**columns):
    return lambda path: np.savez(path / "own.npz", **columns)


class Executes:
    """A pickle of this would run a command when read."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def pickled(path):
    (path / "own.npz").write_bytes(pickle.dumps(Executes()))


def cut_short(path):
    npz_of(features=np.zeros((40, 2)), label=labelled()[1])(path)
    content = (path / "own.npz").read_bytes()
    (path / "own.npz").write_bytes(content[: len(content) // 2])


MANY = [(r, r % CLASSES) for r in range(40)]
BROKEN = {
    "NaN": (
        csv_of(*MANY, ("nan", 3)),
        {},
        "missing or infinite cells: 'x' in row 41. Fill them in",
    ),
    "infinity": (
        npz_of(features=np.full(4, np.inf), label=np.arange(4)),
        {},
        "in rows 1, 2, 3, 4",
    ),
    "text": (csv_of((1, 2), ("red", 3)), {}, "'x' has .*red.* in row 2.*not a number. Encode"),
    "no label": (csv_of((1, 2), (1, "")), {}, "'label' is missing in row 2. Fill it in"),
    "lengths": (
        npz_of(features=np.zeros((5, 2)), label=np.zeros(4)),
        {},
        "'features' has 5, 'label' has 4 rows",
    ),
    "one-hot labels": (npz_of(features=np.zeros((4, 2)), label=np.eye(4)), {}, "one value per row"),
    "no column": (csv_of(*MANY), {"target": "labl"}, "no column 'labl'.*Did you mean label.*It ha"),
    "no features": (csv_of(*MANY), {"features": ["x", "z"]}, "no column 'z' .task.features"),
    "nothing left": (csv_of((1,), (2,), header="label"), {}, "no column left for features"),
    "few classes": (csv_of(*MANY[:30]), {"ways": 3}, "3 classes, but the validation split has 2"),
    "few rows": (csv_of(*MANY[:33]), {"queries": 3}, "4 rows .* fewer: '.' has only 3. Lower"),
    "uneven row": (csv_of(*MANY, (1, 2, 3)), {}, "row 41 has 3 values, but the first line names 2"),
    "no rows": (csv_of(), {}, "own.csv has no rows"),
    "twice named": (csv_of(*MANY, header="label,label"), {}, "names the column 'label' twice"),
    "objects": (
        npz_of(features=np.array([1, "a", None], dtype=object), label=np.arange(3)),
        {},
        "pickled Python objects, which could execute code.*without dtype=object",
    ),
    "a pickle": (pickled, {}, "pickled Python objects, which could execute code"),
    "cut short": (cut_short, {}, "not a complete NPZ file.*Save it again"),
    "split word": (
        csv_of(*((*row, "trane") for row in MANY), header="x,label,part"),
        {"split_column": "part"},
        "'part' is 'trane' in row 1. It must be train",
    ),
    "two splits": (
        csv_of((1, 0, "train"), (2, 0, "test"), header="x,label,part"),
        {"split_column": "part"},
        "'0' .label. is in train and, in row 2, in test.*be in one split",
    ),
    "no file": (
        lambda path: None,
        {},
        "own.csv is not a file. Correct task.data_dir and task.file",
    ),
    "of another kind": (lambda path: None, {"file": "own.xlsx"}, "ends with '.xlsx'.*csv"),
    "not named": (lambda path: None, {"file": None}, "set task.data_dir=FOLDER and task.file=NAME"),
    "shares": (csv_of(*MANY), {"split_fractions": [0.5, 0.1, 0.1]}, "at least 0 with sum 1"),
    "small data set": (
        lambda path: write_csv(path / "own.csv", "x,y,task", [(r, r, r % 5) for r in range(14)]),
        {"kind": "regression", "target": "y"},
        "3 rows of each of its data sets.*'4' has only 2. Lower task.shots",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_bad_input_is_refused_by_file_rule_and_remedy(what, tmp_path):
    write_it, changes, says = BROKEN[what]
    write_it(tmp_path)
    file = "own.npz" if (tmp_path / "own.npz").exists() else "own.csv"
    with pytest.raises(UserError, match=says) as raised:
        make(tmp_path, **{"file": file, **changes}).setup()
    if what not in ("not named", "shares"):
        assert str(tmp_path) in str(raised.value)


def test_another_file_than_the_learner_was_built_for_is_refused(tmp_path):
    file = write(tmp_path, "csv")
    for shapes, says in (
        ({"input_shape": [3], "classes": 10}, r"\[2\] per row.*built for \[3\]"),
        ({"input_shape": [2], "classes": 4}, "has 10 classes, more than task.classes=4"),
    ):
        with pytest.raises(UserError, match=says):
            make(tmp_path, file, **shapes).setup()


def test_a_task_column_has_no_effect_in_classification(tmp_path):
    with pytest.raises(UserError, match="task.task_column=x has no effect.*kind=regression"):
        make(tmp_path, write(tmp_path, "csv"), task_column="x")
