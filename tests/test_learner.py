"""A trained learner in Python: it adapts as evaluation does, to what users hold."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.nn import functional as F

from metaloop.adapted import Adapted
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.learner import Learner
from metaloop.run.config.build import build
from metaloop.run.config.run_config import RunConfig
from metaloop.training.datamodule import EvaluationEpisodes
from tests.conftest import striped

IMAGES = ("task=omniglot", "model.filters=4", "device.precision=64-true")
QUICK = ("model.filters=8", "algorithm.inner_lr=1.0")


def first_test_episode(folder: RunFolder):
    pieces = build(RunConfig.read(folder))
    pieces.task.prepare()
    pieces.task.setup()
    (batch,) = EvaluationEpisodes(pieces.task, pieces.config.seed, "test", 1, 1)
    episodes = pieces.task.gather(batch.episodes, torch.float64)
    return torch.utils._pytree.tree_map(lambda t: t[0], episodes)


@pytest.mark.parametrize("norm_mode", ["transductive", "inductive", "support_plus_one"])
def test_it_adapts_and_predicts_as_evaluation_does(norm_mode, untrained, omniglot, cache):
    data = (f"task.data_dir={omniglot}", f"task.cache_dir={cache}", f"norm_mode={norm_mode}")
    folder = untrained(*IMAGES, *data, "task.shots=2", "task.queries=3")
    task = first_test_episode(folder)
    learner = Learner.load(folder.path)
    bytes_ = [(part.inputs * 255).round().to(torch.uint8) for part in (task.support, task.query)]
    adapted = learner.adapt(bytes_[0], task.support.targets, steps=3)

    *_, phi = learner.algorithm.adapt(learner.meta, task.support, 3)
    for name, p in phi.items():
        torch.testing.assert_close(adapted.phi[name], p.detach(), rtol=1e-12, atol=1e-14)
    logits = learner.algorithm.objective.predict_query(phi, task)
    found = adapted.predict_proba(bytes_[1].numpy())
    torch.testing.assert_close(
        torch.from_numpy(found), logits.softmax(1).detach(), rtol=1e-12, atol=1e-14
    )
    assert adapted.predict(bytes_[1]).tolist() == logits.argmax(1).tolist()
    report = learner.algorithm.objective.judge_query(phi, task)[1]
    assert adapted.score(bytes_[1], task.query.targets) == pytest.approx(float(report["accuracy"]))


def test_a_regression_predicts_numbers_in_the_shape_of_y(untrained):
    learner = Learner.load(untrained("device.precision=64-true").path)
    x = np.linspace(-2, 2, 7)
    flat, column = learner.adapt(x, np.sin(x)), learner.adapt(x[:, None], np.sin(x)[:, None])
    assert flat.predict(x).shape == (7,)
    assert column.predict(x[:, None]).shape == (7, 1)
    support = column.support
    *_, phi = learner.algorithm.adapt(learner.meta, support, learner.algorithm.eval_inner_steps)
    expected = learner.algorithm.objective.predict(phi, support.inputs)[:, 0].detach()
    assert flat.predict(x) == pytest.approx(expected.numpy(), rel=1e-12)
    residual = ((np.sin(x) - flat.predict(x)) ** 2).sum()
    total = ((np.sin(x) - np.sin(x).mean()) ** 2).sum()
    assert flat.score(x, np.sin(x)) == pytest.approx(1 - residual / total)
    with pytest.raises(UserError, match="no class probabilities"):
        flat.predict_proba(x)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "c"], ["a", "b", "c"]),
        ([(1, "x"), (0, "y"), (2, "z")], [(0, "y"), (1, "x"), (2, "z")]),
        (["b", 7, None], ["b", 7, None]),  # without an order: as they appear
        (["b", (1, 2), 7], ["b", (1, 2), 7]),
        ([True, False, 2], [False, True, 2]),
    ],
)
def test_labels_of_any_hashable_kind_come_back(labels, classes, untrained):
    learner = Learner.load(untrained(*IMAGES, *QUICK, "norm_mode=inductive").path)
    x, y = striped(3, 4)
    adapted = learner.adapt(x, [labels[i] for i in y], steps=60)
    assert adapted.classes_.tolist() == classes
    assert adapted.predict(x[[0, 4, 8]]).tolist() == labels


def test_with_fewer_classes_the_unused_logits_take_no_part(untrained):
    learner = Learner.load(untrained(*IMAGES, "norm_mode=inductive").path)
    x, y = striped(3, 2)
    adapted = learner.adapt(x, y, steps=4)
    assert adapted.predict_proba(x).shape == (6, 3)
    # a network that never had the two other outputs goes the same way
    small = {n: p[:3] if n.startswith("head.") else p for n, p in learner.meta.items()}

    def loss(phi):
        weights = {
            n: torch.cat([p, 99 * torch.ones_like(learner.meta[n][3:])])
            if n.startswith("head.")
            else p
            for n, p in phi.items()
        }
        logits = learner.algorithm.objective.predict(weights, adapted.support.inputs)
        return F.cross_entropy(logits[:, :3], torch.from_numpy(y))

    for _ in range(4):
        gradient = torch.func.grad(loss)(small)
        small = {n: p - 0.01 * gradient[n] for n, p in small.items()}
    assert learner.algorithm.describe()["inner_lr"] == 0.01
    for name, p in small.items():
        torch.testing.assert_close(adapted.phi[name][: len(p)], p, rtol=1e-10, atol=1e-12)
    for name in ("head.weight", "head.bias"):  # the two unused rows stay theta's
        assert torch.equal(adapted.phi[name][3:], learner.meta[name][3:])


def test_with_more_classes_the_head_is_a_choice_to_make(untrained):
    learner = Learner.load(untrained(*IMAGES, *QUICK).path)
    x, y = striped(7, 2)
    with pytest.raises(UserError, match=r"has 5 classes, .* has 7. Choose head=mean"):
        learner.adapt(x, y)
    mean = learner.adapt(x, y, head="mean", steps=0)
    rows = learner.meta["head.weight"].mean(0)
    assert torch.equal(mean.phi["head.weight"], rows.expand(7, -1))
    np.testing.assert_allclose(mean.predict_proba(x), 1 / 7)  # equal rows: no opinion yet
    fresh, same, other = (learner.adapt(x, y, head="fresh", seed=s, steps=0) for s in (0, 0, 1))
    weights = [a.phi["head.weight"] for a in (fresh, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    bound = (6 / (7 + weights[0].shape[1])) ** 0.5
    assert 0.5 * bound < weights[0].abs().max() < bound
    assert learner.adapt(x, y, head="mean", steps=200).score(x, y) > 0.9


@pytest.mark.parametrize(
    ("algorithm", "checks"),
    [
        ("meta_sgd", {"step_size.head.weight": (7, 4)}),
        ("meta_curvature", {"curvature.head.weight.0": (7, 7), "curvature.head.bias.0": (7, 7)}),
        ("maml_plus_plus", {"step_size.head.weight": (2,)}),
        ("anil", {}),
        ("prototypical", {}),
        ("proto_maml", {}),
        ("r2d2", {"ridge.log_strength": ()}),
        ("pretrain", {}),
    ],
)
def test_what_an_algorithm_learned_for_each_row_fits_another_head(algorithm, checks, untrained):
    steps = ["algorithm.inner_steps=2"] if algorithm == "maml_plus_plus" else []
    learner = Learner.load(untrained(*IMAGES, f"algorithm={algorithm}", *steps).path)
    x, y = striped(7, 2)
    adapted = learner.adapt(x, y, head="fresh")
    assert adapted.predict_proba(x).shape == (14, 7)
    for name, shape in checks.items():
        assert adapted.meta[name].shape[: len(shape)] == shape
    if algorithm == "meta_sgd":
        expected = learner.meta["step_size.head.weight"].mean(0)
        torch.testing.assert_close(adapted.meta["step_size.head.weight"][6], expected)


def test_equal_rows_are_refused_where_the_head_does_not_adapt(untrained):
    x, y = striped(7, 1)
    learner = Learner.load(untrained(*IMAGES, "algorithm=boil").path)
    with pytest.raises(UserError, match="the head does not adapt. Choose head=fresh"):
        learner.adapt(x, y, head="mean")


@pytest.mark.parametrize("algorithm", ["maml", "reptile"])
def test_uneven_shots_count_by_example_and_the_order_of_classes_does_not(algorithm, untrained):
    learner = Learner.load(untrained(*IMAGES, f"algorithm={algorithm}").path)
    x, y = striped(5, 4)
    by_class = [0, 1, 2, 3, 4, 8, 12, 13, 14, 16, 17, 18, 19]
    by_shot = sorted(by_class, key=lambda row: row % 4)  # Reptile's minibatches go by position
    one, other = (learner.adapt(x[rows], y[rows]) for rows in (by_class, by_shot))
    assert one.support.targets.bincount().tolist() == [4, 1, 1, 3, 4]
    assert one.predict_proba(x) == pytest.approx(other.predict_proba(x), rel=1e-12)


def test_rows_that_are_normalised_apart_are_predicted_apart(untrained, monkeypatch):
    x, y = striped(5, 3)
    for norm_mode in ("inductive", "support_plus_one"):
        learner = Learner.load(untrained(*IMAGES).path, norm_mode=norm_mode)
        adapted = learner.adapt(x, y)
        whole = adapted.predict_proba(x)
        monkeypatch.setattr("metaloop.adapted.adapted.ROWS_AT_ONCE", 2)
        assert adapted.predict_proba(x) == pytest.approx(whole, rel=1e-12)
        monkeypatch.undo()
        assert adapted.predict_proba(x[:1]) == pytest.approx(whole[:1], rel=1e-12)
    together = Learner.load(untrained(*IMAGES).path).adapt(x, y)
    assert together.predict_proba(x[:2]) != pytest.approx(together.predict_proba(x)[:2], rel=1e-3)


def test_loading_leaves_chance_as_it_was_and_the_saved_weights_load(untrained, tmp_path):
    folder = untrained(*IMAGES)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    learner = Learner.load(folder.path)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    x, y = striped(5, 1)
    adapted: Adapted = learner.adapt(x, [f"letter {c}" for c in y])
    adapted.save(tmp_path / "adapted.pt")
    saved = torch.load(tmp_path / "adapted.pt", weights_only=True)
    model = build(RunConfig.read(folder)).algorithm.objective.model
    model.load_state_dict(saved["state_dict"])
    assert saved["classes"] == [f"letter {c}" for c in range(5)]
    adapted.save(tmp_path / "adapted.safetensors")
    with safe_open(tmp_path / "adapted.safetensors", "pt") as file:
        assert json.loads(file.metadata()["classes"]) == saved["classes"]
        assert set(file.keys()) == set(saved["state_dict"])
        assert all(torch.equal(file.get_tensor(n), p) for n, p in saved["state_dict"].items())
    inputs = torch.from_numpy(x).double() / 255
    torch.testing.assert_close(model(inputs), adapted.outputs(x))


def without_row(y, row):
    return [label for i, label in enumerate(y) if i != row]


X, Y = striped(5, 2)


@pytest.mark.parametrize(
    ("x", "y", "options", "says"),
    [
        (X, without_row(Y, 0), {}, "x has 10 rows, but y has 9"),
        (X[:0], [], {}, "x has no rows"),
        (X[:2], Y[:2], {}, r"only one class \(0\)"),
        (X[:, 0], Y, {}, r"\[rows, 1, 28, 28\], but x has the shape \[10, 28, 28\].*x\[:, None\]"),
        (X.transpose(0, 2, 3, 1), Y, {}, r"x.transpose\(0, 3, 1, 2\)"),
        (X[:, :, :20], Y, {}, "Resize the images"),
        (X.astype(float), Y, {}, "floats must be in 0..1, but these are in 0 .. 249"),
        (X.astype(int), Y, {}, r"images.astype\('uint8'\)"),
        (
            np.where(X > 240, np.nan, X / 255.0),
            Y,
            {},
            r"NaN or infinity in \d+ rows, first in x\[",
        ),
        (X.astype(str), Y, {}, "numbers are needed"),
        (X, [[c] for c in Y], {}, r"y\[0\] is a list, which cannot be a label"),
        (X, [float("nan"), *Y[1:]], {}, r"y\[0\] is NaN"),
        (X, Y, {"steps": -1}, "steps=-1: the number of inner steps"),
        (X, Y, {"head": "new"}, "head=new is unknown. Choices: fresh, mean"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_remedy(x, y, options, says, untrained):
    learner = Learner.load(untrained("task=omniglot", "model.filters=2").path)
    with pytest.raises(UserError, match=says):
        learner.adapt(x, y, **options)


def test_a_regressions_mistakes_are_named_too(untrained):
    learner = Learner.load(untrained().path)
    x = np.linspace(-1, 1, 4)
    with pytest.raises(UserError, match=r"\[rows, 1\], but x has the shape \[4, 2\].* 1 features"):
        learner.adapt(np.stack([x, x], 1), x)
    with pytest.raises(UserError, match=r"first in y\[3\]"):
        learner.adapt(x, [0.0, 1.0, 2.0, np.nan])
    with pytest.raises(UserError, match="predicts 1 values per input"):
        learner.adapt(x, np.stack([x, x], 1))
    with pytest.raises(UserError, match="head=mean is for classes"):
        learner.adapt(x, x, head="mean")
    with pytest.raises(UserError, match="diverged in 400 inner steps"):
        learner.adapt(x * 1e4, x * 1e4, steps=400)


def test_a_class_that_the_support_set_lacks_is_named(untrained):
    adapted = Learner.load(untrained(*IMAGES).path).adapt(X, Y)
    with pytest.raises(UserError, match=r"9 is not a class of the support set \(0, 1, 2, 3, 4\)"):
        adapted.score(X, [9, *Y[1:]])


def test_what_is_no_trained_run_is_refused(make_run, untrained, tmp_path):
    with pytest.raises(UserError, match="There is no folder"):
        Learner.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="has no checkpoint yet"):
        Learner.load(make_run().path)
    with pytest.raises(UserError, match="checkpoint=worst is unknown"):
        Learner.load(untrained().path, checkpoint="worst")
