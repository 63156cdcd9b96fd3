"""A run remembers its table: names, order and scale of the features, in training and after."""

import numpy as np
import pytest
import torch

from metaloop.errors import UserError
from tests.tasks.tables.test_arrays import episodes, make, write_csv

# classes c of four rows each; y_lag is larger than dose by a factor of 1000
ROWS = [(c + r / 4, 1000 * r + c, f"kind {c}") for c in range(10) for r in range(4)]
HEADER = "dose,y_lag,v"
TRAIN = {"target": "v"}


@pytest.fixture
def trained(tmp_path):
    """A task of arrays, and another that has read no file but its run's config."""

    def build(header=HEADER, rows=ROWS, **changes):
        write_csv(tmp_path / "own.csv", header, rows)
        task = make(tmp_path, "own.csv", **{**TRAIN, **changes})
        (tmp_path / "own.csv").unlink()
        return task, make(tmp_path, **{**TRAIN, **changes, **task.found, "file": "own.csv"})

    return build


def given(task, folder, header, *rows):
    write_csv(folder / "new.csv", header, rows)
    return task.read_examples(folder / "new.csv", skip_unusable=False)


def test_new_columns_are_matched_by_name_and_further_ones_left_out_and_said(trained, tmp_path):
    task, handed = trained()
    assert task.found["features"] == ["dose", "y_lag"]
    new = given(handed, tmp_path, ",v,y_lag,label,dose", (0, "b", 7, "q", 3), (1, "a", 8, "q", 4))
    assert new.inputs.tolist() == [[3, 7], [4, 8]]
    assert new.labels == ["b", "a"]
    (said,) = new.skipped
    assert said.endswith("not features of the run: (no name), label")


def test_a_missing_feature_is_named_and_a_table_without_the_target_is_unlabelled(trained, tmp_path):
    _, handed = trained()
    assert given(handed, tmp_path, "y_lag,dose", (7, 3)).labels is None
    with pytest.raises(
        UserError, match=r"new.csv lacks y_lag of the learner's features \(dose, y_"
    ):
        given(handed, tmp_path, "dose,v", (7, "a"))


def test_a_regression_takes_its_targets_by_name_in_the_runs_order(trained, tmp_path):
    rows = [(r, r + 1, r % 3, r % 5, r // 20) for r in range(60)]
    regression = {"kind": "regression", "target": ["v", "y_pos"], "task_column": "site"}
    _, handed = trained("y_lag,x,v,y_pos,site", rows, **regression, shots=2)
    new = given(handed, tmp_path, "site,y_pos,v,x,y_lag", (1, 5, 6, 2, 3))
    assert (new.inputs.tolist(), new.labels.tolist()) == ([[3, 2]], [[6, 5]])
    with pytest.raises(UserError, match="has the target v but lacks y_pos"):
        given(handed, tmp_path, "v,x,y_lag", (6, 2, 3))


def test_an_array_without_names_takes_columns_by_their_number(tmp_path):
    np.savez(tmp_path / "own.npz", features=np.ones((40, 2)), label=np.arange(40) % 10)
    task = make(tmp_path, "own.npz")
    assert task.found["features"] == "features"
    new = given(task, tmp_path, "b,a,label", (1, 2, 3))
    assert new.inputs.tolist() == [[1, 2]]
    with pytest.raises(
        UserError, match=r"has 3 features \(a, b, c\), but the run was trained on 2"
    ):
        given(task, tmp_path, "a,b,c", (1, 2, 3))


def test_standardised_features_are_scaled_by_the_training_rows_everywhere(trained, tmp_path):
    write_csv(tmp_path / "own.csv", HEADER, ROWS)
    task = make(tmp_path, "own.csv", **TRAIN, standardise="train")
    task.setup()
    trained_on = task.groups.splits["train"]
    rows = torch.cat([torch.arange(4) + 4 * int(c) for c in trained_on])
    raw = torch.tensor([row[:2] for row in ROWS], dtype=torch.float64)
    mean, spread = raw[rows].mean(0), raw[rows].std(0, correction=0)
    torch.testing.assert_close(task.inputs, (raw - mean) / spread)
    assert task.found["feature_means"] == pytest.approx(mean.tolist())
    _, handed = trained(standardise="train")
    for of_user in (raw[:3].numpy(), raw[:3].tolist()):  # adapt, Learner and export alike
        scaled = handed.scale(handed.encode(of_user), torch.float64)
        torch.testing.assert_close(scaled, (raw[:3] - mean) / spread)
    write_csv(tmp_path / "own.csv", HEADER, ROWS)
    assert episodes(task).query.inputs.abs().max() < 4
    with pytest.raises(
        UserError, match="feature_means=.* has no effect because task.standardise=nu"
    ):
        make(tmp_path, "own.csv", **{**TRAIN, **task.found, "standardise": None})


def test_features_are_listed_and_what_a_learner_stumbles_over_is_warned_of(tmp_path):
    rows = [(r, 4e-5 * (r % 3), 53 * (r % 7), 1, 1e4 * r, r // 6) for r in range(60)]
    write_csv(tmp_path / "own.csv", "id,small,large,same,price,task", rows)
    regression = {"kind": "regression", "target": "price"}
    task = make(tmp_path, "own.csv", **regression)
    listed, *warnings = task.introduce()
    assert listed == ("Features: id, small, large, same. Target: price, one task per 'task'.")
    numbering, constant, spreads, targets = warnings
    assert "'id' only numbers the rows" in numbering
    assert "constant in all training rows, so useless: same" in constant
    assert "(small) to" in spreads
    assert "(large)" in spreads
    assert "task.standardise=train" in spreads
    assert "targets far from 1" in targets
    assert "price" in targets
    calm = [(r % 5, r % 3, r % 2, r // 6) for r in range(60)]
    write_csv(tmp_path / "own.csv", "a,b,y,task", calm)
    assert len(make(tmp_path, "own.csv", kind="regression", target="y").introduce()) == 1


@pytest.mark.parametrize(
    ("header", "rows", "says"),
    [
        (
            ",x,label",
            [(r, r % 7, r % 10) for r in range(40)],
            "column '' is an index written by pandas",
        ),
        ("Unnamed: 0,x,label", [(r, 1, r % 10) for r in range(40)], "column 'Unnamed: 0' is an"),
        ("when,label", [("2020-01-01", r % 10) for r in range(40)], "'when' has '2020-01-01' in"),
        ("x,label", [(r, r % 9 or "none") for r in range(40)], "'label' mixes numbers and text: "),
    ],
)
def test_unlisted_columns_that_are_not_features_are_refused(header, rows, says, tmp_path):
    write_csv(tmp_path / "own.csv", header, rows)
    with pytest.raises(UserError, match=says):
        make(tmp_path, "own.csv")


def test_the_index_of_a_data_frame_is_refused_by_its_name(tmp_path):
    pyarrow, parquet = (pytest.importorskip(n) for n in ("pyarrow", "pyarrow.parquet"))
    columns = {"__index_level_0__": range(40), "x": [1.0] * 40, "label": ["a", "b"] * 20}
    table = pyarrow.table({name: list(values) for name, values in columns.items()})
    parquet.write_table(table, tmp_path / "own.parquet")
    with pytest.raises(UserError, match="'__index_level_0__' is an index written by pandas"):
        make(tmp_path, "own.parquet")
    assert make(tmp_path, "own.parquet", features=["x"]).input_shape == (1,)
    named = table.replace_schema_metadata({"pandas": '{"index_columns": ["x"]}'})
    parquet.write_table(named.drop(["__index_level_0__"]), tmp_path / "own.parquet")
    with pytest.raises(UserError, match="'x' is an index written by pandas"):
        make(tmp_path, "own.parquet")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind": "regression", "ways": 3}, "task.ways=3 has no effect in a regression"),
        ({"kind": "regression", "classes": 3}, "task.classes=3 has no effect in a regression"),
        ({"output_size": 3}, "task.output_size=3 has no effect in a classification"),
        (
            {"split_column": "v", "split_seed": 1},
            "task.split_seed=1 has no effect because task.split",
        ),
        ({"file": "own.npz", "decimal": ","}, "task.decimal=, has no effect for own.npz"),
        ({"ways": 1}, "task.ways=1: with a single class every prediction is correct"),
        ({"features": ["v"], **TRAIN}, "task.features lists 'v', which is the target of the pr"),
    ],
)
def test_keys_without_effect_are_refused(changes, says, tmp_path):
    write_csv(tmp_path / "own.csv", HEADER, ROWS)
    with pytest.raises(UserError, match=says):
        make(tmp_path, **{"file": "own.csv", **TRAIN, **changes})


def test_a_regression_starts_with_more_than_one_support_row(tmp_path):
    rows = [(r % 7, r % 5, r // 20) for r in range(60)]
    write_csv(tmp_path / "own.csv", "x,y,task", rows)
    task = make(tmp_path, "own.csv", kind="regression", target="y", shots=None)
    assert episodes(task).support.inputs.shape == (50, 10, 1)
    assert task.found["shots"] == 10


def test_image_bytes_are_scaled_like_the_runs_arrays(tmp_path):
    image = np.array([[[[0, 255]]], [[[51, 102]]]], dtype=np.uint8)
    for white, trained_on in ((1, image / 255), (255, image)):
        np.savez(
            tmp_path / "own.npz",
            features=np.tile(trained_on, (20, 1, 1, 1)),
            label=np.arange(40) % 10,
        )
        task = make(tmp_path, "own.npz")
        assert task.found["white"] == white
        scaled = task.scale(task.encode(image), torch.float64)
        torch.testing.assert_close(scaled, torch.tensor(trained_on).double())
    np.savez(tmp_path / "own.npz", features=np.full((40, 1, 1, 2), -2.0), label=np.arange(40) % 10)
    with pytest.raises(UserError, match="not image bytes"):
        make(tmp_path, "own.npz").scale(torch.tensor(image), torch.float64)
