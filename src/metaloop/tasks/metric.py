"""Metrics, and the direction in which each is better."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from metaloop.errors import UserError

MetricFunction = Callable[[Tensor, Tensor], Tensor]
Mode = Literal["min", "max"]

# values reported for every task besides its metrics: whether higher is better
REPORTED = {"query_loss": False, "support_loss": False, "adaptation_gain": True}


@dataclass(frozen=True)
class Metric:
    """A function of (predictions, targets) to a scalar, with its direction.

    It wraps functions without an attribute `higher_is_better`, which torchmetrics' metrics have:

        metrics = {"mae": Metric(F.l1_loss, higher_is_better=False)}

    `is_mean` says whether it is a mean over examples, so that a single example has it too.

    Examples:
        >>> import torch
        >>> from metaloop import Metric
        >>> mae = Metric(torch.nn.functional.l1_loss, higher_is_better=False)
        >>> mae(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 2.0])), mae.higher_is_better
        (tensor(1.5000), False)

    """

    function: MetricFunction
    higher_is_better: bool
    is_mean: bool = True

    def __call__(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return self.function(predictions, targets)


def accuracy(predictions: Tensor, targets: Tensor) -> Tensor:
    """Compute the fraction of examples whose largest logit is the target's."""
    return (predictions.argmax(-1) == targets).to(predictions.dtype).mean()


def psnr(predictions: Tensor, targets: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of values in 0..1 in dB: 10 log10(1 / MSE)."""
    return -10 * F.mse_loss(predictions, targets).log10()


def brier(predictions: Tensor, targets: Tensor) -> Tensor:
    """Average sum_c (p_c - [c is the target])^2, in 0..2, over the examples (Brier 1950)."""
    probabilities = predictions.softmax(-1)
    of_target = probabilities.gather(-1, targets[..., None])[..., 0]
    return (probabilities.square().sum(-1) - 2 * of_target + 1).mean()


# functions of logits whose optimum is the true probabilities
PROPER_SCORES: Mapping[str, MetricFunction] = {
    "nll": Metric(F.cross_entropy, higher_is_better=False),
    "brier": Metric(brier, higher_is_better=False),
}


def of_examples(metrics: Mapping[str, MetricFunction]) -> dict[str, MetricFunction]:
    """Return the metrics that a single example has too: means over examples."""
    return {name: metric for name, metric in metrics.items() if getattr(metric, "is_mean", True)}


def best_mode(metrics: Mapping[str, MetricFunction], name: str) -> Mode | None:
    """Return whether the min or the max is best for `name`; None if the metric does not define it.

    `name` is a logged name: `accuracy`, `support_accuracy`, `accuracy@inductive` (under a norm
    mode) or `accuracy_before` (before adaptation).
    """
    base = name.partition("@")[0].removesuffix("_before")
    if (is_higher := REPORTED.get(base)) is None:
        metric = metrics.get(base, metrics.get(base.removeprefix("support_")))
        is_higher = getattr(metric, "higher_is_better", None)
    return None if is_higher is None else "max" if is_higher else "min"


def require_mode(metrics: Mapping[str, MetricFunction], name: str) -> Mode:
    """Return whether the min or the max is best.

    Raises:
        UserError: if the metric does not define it.

    """
    if (mode := best_mode(metrics, name)) is None:
        raise UserError(
            f"The metric {name} does not say whether higher is better, so its best value is "
            f'unknown. Define that in the task\'s metrics: "{name}": metaloop.Metric(function, '
            "higher_is_better=False)."
        )
    return mode
