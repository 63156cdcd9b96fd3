"""Figures show the numbers they are given."""

import re
from functools import partial

import matplotlib.colors as colors
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch.utils._pytree import tree_map

from metaloop.algorithms import maml
from metaloop.inner_loop import Objective
from metaloop.models import Siren
from metaloop.plots import (
    draw_adaptation_curve,
    draw_image_episode,
    draw_learning_curve,
    draw_one_task,
    draw_predictions,
    draw_step_sizes,
    draw_validation_curves,
    find_fit,
)
from metaloop.plots.image_episode import RIGHT, WRONG
from metaloop.tasks import PointNavigation, RandomStreams, Sinusoid, SinusoidLine
from metaloop.tasks.fields.pixels import find_pixels
from metaloop.tasks.metric import psnr
from metaloop.training.datamodule import EvaluationEpisodes
from metaloop.training.episode_values import has_classes
from metaloop.training.estimate import Estimate
from tests.episodes import random_case
from tests.tasks.fields.fields import episodes, field, waves


def lines(axis):
    """The lines by what they show; the numbers behind it in the legend left off."""
    return {
        re.sub(r"(:|, query loss) .*", "", line.get_label()): np.asarray(
            line.get_ydata(), dtype=float
        )
        for line in axis.get_lines()
    }


def test_the_adaptation_curve_draws_losses_together_and_accuracy_apart():
    mean, width = torch.tensor([2.0, 1.0, 0.5]), torch.tensor([0.1, 0.1, 0.1])
    curves = {n: Estimate(mean, width, 600) for n in ("support_loss", "query_loss", "accuracy")}
    left, right = draw_adaptation_curve(curves, "title").axes
    assert set(lines(left)) == {"support loss", "query loss"}
    assert lines(right)["accuracy"].tolist() == [2.0, 1.0, 0.5]


def test_the_learning_curve_draws_training_and_validation():
    rows = [
        {"step": "10", "train/query_loss": "3.0", "train/query_loss_before": "4.0"},
        {
            "step": "10",
            "val/query_loss": "2.0",
            "val/query_loss_before": "4.5",
            "val/query_loss_ci95": "0.1",
        },
        {"step": "20", "train/query_loss": "1.0", "train/query_loss_before": "4.0"},
    ]
    (axis,) = draw_learning_curve(rows).axes
    assert lines(axis)["training, mean, after adapting"].tolist() == [3.0, 1.0]
    assert lines(axis)["validation, after adapting"].tolist() == [2.0]


def test_the_learning_curve_of_training_alone_names_no_interval():
    rows = [{"step": "1", "train/f1": "0.3"}, {"step": "2", "train/f1": "0.5"}]
    (axis,) = draw_learning_curve(rows, ["f1"]).axes
    (told,) = axis.get_legend().get_texts()
    assert told.get_text() == "training, mean, after adapting"
    assert axis.get_ylabel() == "f1"


def test_runs_of_one_learner_share_a_colour_and_learners_do_not():
    curves = {"maml": [[(1, 3.0), (2, 2.0)], [(1, 4.0), (2, 1.0)]], "anil": [[(1, 5.0)]]}
    (axis,) = draw_validation_curves(curves, "validation loss", "title").axes
    one, other, anil = axis.get_lines()
    assert (one.get_xdata().tolist(), other.get_ydata().tolist()) == ([1, 2], [4.0, 1.0])
    assert one.get_color() == other.get_color() != anil.get_color()
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["maml", "anil"]
    assert draw_validation_curves({str(n): [[(1, 1.0)]] for n in range(8)}, "", "") is None


def test_a_long_title_takes_more_lines_and_stays_in_its_picture():
    rows = [{"step": "1", "train/query_loss": "0.3"}]
    figure = draw_learning_curve(rows, title="a $name$ of many words " * 6)
    assert r"\$name\$" in figure.get_suptitle()
    FigureCanvasAgg(figure).draw()
    assert figure._suptitle.get_window_extent().width < figure.bbox.width


@pytest.mark.parametrize("stage", ["train", "val"])
def test_a_learning_curve_of_a_single_row_is_seen(stage):
    (axis,) = draw_learning_curve([{"step": "3", f"{stage}/query_loss": "2.0"}]).axes
    (line,) = axis.get_lines()
    assert line.get_xydata().tolist() == [[3, 2.0]]
    assert line.get_marker() in (".", "o")


def test_a_regression_task_is_drawn_before_and_after():
    algorithm, _, _ = random_case("mlp", steps=3)
    task = Sinusoid(shots=5, queries=9)
    (batch,) = EvaluationEpisodes(task, 0, "test", 2, 2)
    episodes = task.gather(batch.episodes, torch.float64)
    meta = algorithm.objective.meta_parameters()
    (axis,) = draw_one_task(algorithm, meta, episodes).axes
    drawn = lines(axis)
    assert {"before adaptation", "after 1 step", "after 3 steps", "support points"} <= set(drawn)
    one = tree_map(lambda x: x[0], episodes)
    *_, phi = algorithm.adapt(meta, one.support, 3)
    seen = torch.cat([one.support.inputs, one.query.inputs])
    low, high = seen.min().item(), seen.max().item()
    grid = torch.linspace(low, high, 200, dtype=torch.float64)[:, None]
    expected = algorithm.objective.predict(phi, grid)[:, 0].detach()
    assert drawn["after 3 steps"] == pytest.approx(expected.numpy(), abs=1e-5)


def test_the_true_function_is_drawn_beneath_a_fit():
    algorithm, _, _ = random_case("mlp", steps=1)
    task = SinusoidLine(shots=5, queries=9, noise_std=0.3)
    (batch,) = EvaluationEpisodes(task, 0, "test", 1, 1)
    episodes = task.gather(batch.episodes, torch.float64)
    truth = task.truth("test", RandomStreams(0, "test", batch.indices))
    meta = algorithm.objective.meta_parameters()
    (axis,) = draw_one_task(algorithm, meta, episodes, truth=truth, title="t").axes
    beneath, *curves = axis.get_lines()
    assert beneath.get_label() == "true function"
    assert all(beneath.get_zorder() <= curve.get_zorder() for curve in curves)
    x, y = (torch.as_tensor(values)[None, :, None] for values in beneath.get_data())
    assert torch.allclose(truth(x), y)


def test_a_fit_without_query_points_is_judged_by_its_support_set():
    algorithm, _, _ = random_case("mlp", steps=2)
    (batch,) = EvaluationEpisodes(Sinusoid(shots=5, queries=9), 0, "test", 1, 1)
    task = tree_map(lambda x: x[0].double(), batch.episodes)
    alone = task._replace(query=task.support.map(lambda part: part[:0]))
    meta = algorithm.objective.meta_parameters()
    phis = list(algorithm.adapt(meta, task.support, 2))
    (axis,) = find_fit(alone, axes=("dose_mg", "effect"))(algorithm, phis, alone, "title").axes
    labels = [line.get_label() for line in axis.get_lines()]
    loss, _ = algorithm.objective.judge_query(phis[-1], task._replace(query=task.support))
    assert labels[2] == f"after 2 steps, support loss {loss.item():.3g}"
    assert "query points" not in labels
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("dose_mg", "effect")


@pytest.mark.parametrize("shots", [None, 7])
def test_a_field_is_drawn_as_an_image_after_some_steps_next_to_the_truth(shots):
    task = field(waves(), shots=shots)
    model = Siren(2, 1, hidden=[4], w0=3.0).double()
    objective = Objective(model=model, loss=task.loss, metrics=task.metrics)
    sizes = {"inner_lr": 0.1, "inner_steps": 1, "eval_inner_steps": 12}
    algorithm = maml(objective, **sizes, adjoint="unrolled")
    meta, batch = objective.meta_parameters(), episodes(task, count=2)
    figure = draw_one_task(algorithm, meta, batch)
    shown = {axis.get_title(): axis.images[0].get_array() for axis in figure.axes}
    named = [title.partition("\n")[0] for title in shown]
    steps = ["before", "after 1 step", "after 2 steps", "after 10 steps", "after 12 steps"]
    assert named == [*([] if shots is None else ["7 support"]), *steps, "the image"]
    one = tree_map(lambda x: x[0], batch)
    np.testing.assert_allclose(shown["the image"].ravel(), one.query.targets[:, 0])
    *_, phi = algorithm.adapt(meta, one.support, 12)
    predicted = objective.predict(phi, one.query.inputs).detach()
    decibels = float(psnr(predicted, one.query.targets))
    last = shown[f"after 12 steps\n{decibels:.1f} dB"]
    np.testing.assert_allclose(last.ravel(), predicted[:, 0].clamp(0, 1), atol=1e-6)
    if shots is not None:
        given = shown["7 support\npixels"].reshape(16, 3)
        rows = find_pixels(one.support.inputs, 16)
        np.testing.assert_allclose(given[rows], one.support.targets.expand(7, 3), atol=1e-6)
        others = [row for row in range(16) if row not in rows]
        assert len(np.unique(given[others], axis=0)) == 1


def test_rollouts_of_a_policy_are_plotted_before_and_after_adaptation():
    task = PointNavigation(shots=4, queries=3, horizon=6, action_std=0.5)
    objective = Objective(
        model=torch.nn.Linear(2, 2), loss=task.loss, metrics=task.metrics, forward=task.forward
    )
    algorithm = maml(objective, inner_lr=1.0, inner_steps=1, eval_inner_steps=2, adjoint="unrolled")
    meta = objective.meta_parameters()
    (batch,) = EvaluationEpisodes(task, 0, "test", 2, 2)
    episodes = task.gather(batch.episodes, torch.float32)
    (axis,) = draw_one_task(algorithm, meta, episodes).axes
    walked = [line for line in axis.get_lines() if len(line.get_xdata()) == 1 + 6]
    one = tree_map(lambda x: x[0], episodes)
    expected = []
    for phi in (meta, [*algorithm.adapt(meta, one.support, 2)][-1]):
        policy = partial(torch.func.functional_call, objective.model, dict(phi))
        expected += task.forward(lambda x, policy=policy: policy((x,)), one.query.inputs)[..., 1:]
    assert len(walked) == len(expected) == 2 * 3
    for line, places in zip(walked, expected, strict=True):
        assert line.get_xydata()[0].tolist() == [0, 0]
        assert line.get_xydata()[1:] == pytest.approx(places.detach().numpy(), abs=1e-6)
    (goal,) = [line for line in axis.get_lines() if line.get_label() == "goal"]
    assert goal.get_xydata()[0] == pytest.approx(one.query.targets[0].numpy())
    labels = [line.get_label() for line in axis.get_lines()]
    assert sum("before adaptation, mean return -" in label for label in labels) == 1
    assert sum("after 2 steps, mean return -" in label for label in labels) == 1


def test_an_image_episode_shows_every_image_and_marks_right_and_wrong():
    algorithm, theta, episodes = random_case("conv")
    figure = draw_one_task(algorithm, theta, episodes)
    shown = [axis for axis in figure.axes if axis.images]
    assert len(shown) == 6 + 9  # every support and query image
    task = tree_map(lambda x: x[0].float(), episodes)
    task = task._replace(query=task.query._replace(targets=task.query.targets.long()))
    task = task._replace(support=task.support._replace(targets=task.support.targets.long()))
    right = torch.nn.functional.one_hot(task.query.targets, 3).float()
    wrong = right.roll(1, -1)
    names = ["ant", "bee", "cat"]
    for after, color, dashes, number in ((right, RIGHT, "-", 9), (wrong, WRONG, "--", 0)):
        figure = draw_image_episode(task, wrong, after, names)
        axes = [a for a in figure.axes if a.get_xlabel().startswith("before: ")]
        assert len(axes) == 9
        sides = [axis.spines["left"] for axis in axes]
        assert {colors.to_hex(side.get_edgecolor()) for side in sides} == {color.lower()}
        assert {side.get_linestyle() for side in sides} == {dashes}
        said = f"0 of 9 query images right before adaptation, {number} after"
        assert said in figure.get_suptitle().replace("\n", " ")
        assert axes[0].get_title() == ("ant, 100%" if number else "bee, 100%")
    assert [a.get_ylabel() for a in figure.axes if a.get_ylabel()] == names


def test_names_too_long_for_an_image_are_beside_numbered_rows():
    algorithm, theta, episodes = random_case("conv")
    ids = episodes.classes[0].tolist()
    figure = draw_one_task(algorithm, theta, episodes, "a_long_alphabet 0{}, rotated 270".format)
    beside = [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()]
    assert beside == [
        f"class {n}:\na_long_alphabet 0{c},\nrotated 270" for n, c in enumerate(ids, 1)
    ]
    above = [axis.get_title() for axis in figure.axes if axis.get_xlabel()]
    assert all(re.fullmatch(r"class [123], \d+%", title) for title in above)


def test_images_without_global_ids_are_plotted_but_image_targets_are_not():
    algorithm, theta, episodes = random_case("conv")
    bare = episodes._replace(classes=episodes.classes[:, :0])
    figure = draw_one_task(algorithm, theta, bare, "no {}".format)
    assert {a.get_ylabel() for a in figure.axes} >= {"class 1", "class 2", "class 3"}
    masks = tree_map(lambda x: x, episodes)
    targets = episodes.query.targets[..., None, None].expand(-1, -1, 4, 4)
    masks = masks._replace(query=masks.query._replace(targets=targets))
    assert has_classes(episodes)
    assert not has_classes(masks)


def test_predictions_are_framed_by_the_truth_where_it_is_known():
    images = torch.rand(3, 1, 4, 4)
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    files = ["x.png", "a_folder/with_a_long_name/y_01.png", "z.png"]
    figure = draw_predictions(images, probabilities, ["a", "b"], ["a", "b", "b"], files)
    assert "2 of 3 right" in figure.get_suptitle()
    axes = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in axes] == ["a, 90%", "b, 80%", "a, 60%"]
    below = [axis.get_xlabel() for axis in axes]
    assert below == ["x.png", "..h_a_long_name/y_01.png", "is b\nz.png"]
    unknown = draw_predictions(images, probabilities, ["a", "b"], None, files)
    assert "right" not in unknown.get_suptitle()


def test_what_has_no_picture_has_none():
    algorithm, theta, episodes = random_case("mlp")
    wide = tree_map(lambda x: x, episodes)
    wide = wide._replace(
        support=wide.support._replace(inputs=wide.support.inputs.expand(-1, -1, 2))
    )

    class Still(type(algorithm)):
        def adapt(self, meta, support, steps):
            yield meta

    still = Still(
        objective=algorithm.objective, update=algorithm.update, inner_steps=1, eval_inner_steps=1
    )
    assert draw_one_task(still, theta, wide) is None


def test_one_quantity_has_one_panel_for_all_sets_and_norm_modes():
    values = Estimate(torch.tensor([2.0, 1.0]), torch.tensor([0.1, 0.1]), 600)
    names = ("support_loss", "query_loss", "query_loss@inductive", "accuracy", "support_accuracy")
    left, right = draw_adaptation_curve(dict.fromkeys(names, values), "title").axes
    assert set(lines(left)) == {"support loss", "query loss", "query loss@inductive"}
    assert set(lines(right)) == {"accuracy", "support accuracy"}


def test_the_negative_log_likelihood_has_no_panel_where_it_is_the_loss():
    support, query = (
        Estimate(torch.tensor([2.0, last]), torch.tensor([0.1, 0.1]), 600) for last in (0.5, 1.0)
    )
    curves = {"support_loss": support, "query_loss": query, "nll": query, "support_nll": support}
    (axis,) = draw_adaptation_curve(curves, "title").axes
    assert set(lines(axis)) == {"support loss", "query loss"}
    other = draw_adaptation_curve({**curves, "nll": support}, "title")
    assert [axis.get_ylabel() for axis in other.axes] == ["loss", "negative log-likelihood"]


def test_step_sizes_are_drawn_for_every_step_or_over_the_elements():
    theta = {"body.weight": torch.zeros(3, 2), "head.bias": torch.zeros(2)}
    per_step = {f"step_size.{n}": torch.tensor([0.1, -0.2]) for n in theta}
    axis, _ = draw_step_sizes({**theta, **per_step}).axes
    np.testing.assert_allclose(axis.images[0].get_array(), [[0.1, -0.2], [0.1, -0.2]], rtol=1e-6)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["body.weight", "head.bias"]

    of_elements = {f"step_size.{n}": torch.full_like(p, 0.3) for n, p in theta.items()}
    (axis,) = draw_step_sizes({**theta, **of_elements}).axes
    medians = [line.get_xdata()[0] for line in axis.get_lines() if line.get_marker() == "o"]
    assert medians == pytest.approx([0.3, 0.3])


def test_without_learned_step_sizes_there_is_no_such_picture():
    assert draw_step_sizes({"head.bias": torch.zeros(2)}) is None
