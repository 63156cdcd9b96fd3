"""A metric says itself whether higher is better, and everything that chooses a best asks it."""

import pytest
import torch
import torchmetrics
from torch.nn import functional as F

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.build import build, build_callbacks
from metaloop.run.config.run_config import RunConfig
from metaloop.run.sweeps.target_metric import choose_target_metric
from metaloop.tasks import (
    Metric,
    PointNavigation,
    RegressionTask,
    RowClasses,
    Sinusoid,
    best_mode,
)
from metaloop.tasks.metric import brier, of_examples, psnr
from tests.conftest import composed


def silent(predictions, targets):
    return (predictions - targets).abs().amax()


class Judged(Sinusoid):
    """Sinusoids with further metrics, of which one decides."""

    monitor = "r2"

    @property
    def metrics(self):
        return {
            "mae": Metric(F.l1_loss, higher_is_better=False),
            "r2": torchmetrics.R2Score(),
            "worst": silent,
        }


class Undecided(Judged):
    monitor = "worst"


def config(task: type = Judged, **callbacks: dict) -> dict:
    whole = composed("experiment=smoke", "callbacks=early_stopping")
    node = {**whole["task"], "_target_": f"{__name__}.{task.__name__}"}
    return {**whole, "task": node, "callbacks": whole["callbacks"] | callbacks}


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("query_loss", "min"),
        ("support_loss_before", "min"),
        ("adaptation_gain", "max"),
        ("mae", "min"),
        ("mae@inductive", "min"),
        ("support_mae", "min"),
        ("r2", "max"),
        ("worst", None),
        ("mae_ci95", None),
    ],
)
def test_logged_values_have_the_metrics_direction(name, mode):
    assert best_mode(Judged(shots=2, queries=2).metrics, name) == mode


def test_metaloops_metrics_have_their_directions():
    walk = PointNavigation(shots=2, queries=2, horizon=2, action_std=1.0)
    assert best_mode(walk.metrics, walk.monitor) == "max"
    omniglot = build(RunConfig.of(composed("task=omniglot"))).task
    assert best_mode(omniglot.metrics, omniglot.monitor) == "max"


def test_a_metric_computes_what_its_function_does():
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0])
    assert Metric(F.l1_loss, higher_is_better=False)(x, y) == 1.5


def test_checkpoints_and_early_stopping_ask_the_metric_that_they_monitor(tmp_path):
    stopping = {"_target_": "pytorch_lightning.callbacks.EarlyStopping", "monitor": "val/mae"}
    pieces = build(RunConfig.of(config(early_stopping=stopping)))
    named = build_callbacks(pieces.config, RunFolder(tmp_path), pieces.task)
    assert (named["best"].monitor, named["best"].mode) == ("val/r2", "max")
    assert (named["early_stopping"].monitor, named["early_stopping"].mode) == ("val/mae", "min")


def test_sweeps_use_the_metrics_direction():
    pieces = build(RunConfig.of(config()))
    modes = {
        named: choose_target_metric(named, pieces.config, pieces.task).mode
        for named in ("val/mae", "val/r2", "test/query_loss", None)
    }
    assert modes == {"val/mae": "min", "val/r2": "max", "test/query_loss": "min", None: "max"}


def test_a_metric_without_direction_cannot_be_monitored(tmp_path):
    says = r"metric worst does not say whether higher is better.*metaloop.Metric\(function"
    with pytest.raises(UserError, match=says):
        build(RunConfig.of(config(Undecided)))
    pieces = build(RunConfig.of(config()))
    task = pieces.task
    with pytest.raises(UserError, match=says):
        choose_target_metric("val/worst", pieces.config, task)
    stopping = {"_target_": "pytorch_lightning.callbacks.EarlyStopping", "monitor": "val/worst"}
    with pytest.raises(UserError, match=says):
        build_callbacks(RunConfig.of(config(early_stopping=stopping)), RunFolder(tmp_path), task)
    decided = RunConfig.of(config(early_stopping={**stopping, "mode": "max"}))
    named = build_callbacks(decided, RunFolder(tmp_path), task)
    assert named["early_stopping"].mode == "max"


def test_a_task_that_gives_the_metrics_direction_is_refused():
    with pytest.raises(UserError, match="must be only a name.*metaloop.Metric"):
        type("Old", (RegressionTask,), {"monitor": ("mae", "min")})


def test_the_brier_score_is_by_hand():
    logits = torch.tensor([[0.8, 0.2], [0.3, 0.7]], dtype=torch.float64).log()
    # (0.8 - 1)^2 + 0.2^2 = 0.08; (0.3 - 1)^2 + 0.7^2 = 0.98
    assert float(brier(logits, torch.tensor([0, 0]))) == pytest.approx((0.08 + 0.98) / 2)


def test_the_peak_signal_to_noise_ratio_is_by_hand():
    truth = torch.tensor([[0.2, 0.5], [1.0, 0.0]], dtype=torch.float64)
    assert float(psnr(truth + 0.1, truth)) == pytest.approx(20)  # 10 log10(1 / 0.01)
    # errors 0.1 and 0: MSE 0.005, half of it, which is 10 log10(2) dB better
    half = truth + torch.tensor([[0.1, 0.0], [0.0, -0.1]], dtype=torch.float64)
    assert float(psnr(half, truth)) == pytest.approx(23.0103, abs=1e-4)
    theirs = torchmetrics.functional.image.peak_signal_noise_ratio(half, truth, data_range=1.0)
    assert float(psnr(half, truth)) == pytest.approx(float(theirs))


def test_a_single_example_has_the_metrics_that_are_means_alone():
    whole = Metric(psnr, higher_is_better=True, is_mean=False)
    of_each = Metric(F.l1_loss, higher_is_better=False)
    metrics = {"psnr": whole, "mae": of_each, "worst": silent}
    assert of_examples(metrics) == {"mae": of_each, "worst": silent}


class OfMargins(RowClasses):
    """A classification whose outputs are no logits of probabilities."""

    def loss(self, predictions, targets):
        return F.multi_margin_loss(predictions, targets)


def test_scores_of_probabilities_are_of_an_evaluation_where_outputs_are_their_logits():
    sizes = {"ways": 2, "shots": 1, "queries": 1}
    assert list(RowClasses(**sizes).evaluation_metrics) == ["nll", "brier"]
    assert not set(RowClasses(**sizes).metrics) & {"nll", "brier"}  # no meta-step pays for them
    assert not OfMargins(**sizes).evaluation_metrics


def test_a_sweep_can_compare_its_jobs_by_the_brier_score_of_the_test_alone():
    config = RunConfig.of(composed("experiment=smoke", "task=omniglot", "model.filters=2"))
    task = build(config).task
    found = choose_target_metric("test/brier", config, task)
    assert (found.stage, found.metric, found.mode) == ("test", "brier", "min")
    with pytest.raises(UserError, match=r"val/brier is not a metric.*test/nll, test/brier"):
        choose_target_metric("val/brier", config, task)
