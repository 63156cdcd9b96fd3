"""A metric, and whether a higher value of it is better: the one home of its direction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from metaloop.errors import UserError

MetricFunction = Callable[[Tensor, Tensor], Tensor]
Mode = Literal["min", "max"]

# what is reported of every task beside its metrics, with torchmetrics' word
REPORTED = {"query_loss": False, "support_loss": False, "adaptation_gain": True}


@dataclass(frozen=True)
class Metric:
    """A function of (predictions, targets), a scalar, that says whether higher is better.

    For a function without an attribute `higher_is_better`, which a metric of torchmetrics has:

        metrics = {"mae": Metric(F.l1_loss, higher_is_better=False)}
    """

    function: MetricFunction
    higher_is_better: bool

    def __call__(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return self.function(predictions, targets)


def best_mode(metrics: Mapping[str, MetricFunction], name: str) -> Mode | None:
    """Whether the smallest or the largest value is the best: of `name`, as it is logged.

    That is a metric's (`accuracy`), of the support set (`support_accuracy`), under a norm mode
    (`accuracy@inductive`) or before adaptation. None where the metric does not say.
    """
    base = name.partition("@")[0].removesuffix("_before")
    if (is_higher := REPORTED.get(base)) is None:
        metric = metrics.get(base, metrics.get(base.removeprefix("support_")))
        is_higher = getattr(metric, "higher_is_better", None)
    return None if is_higher is None else "max" if is_higher else "min"


def require_mode(metrics: Mapping[str, MetricFunction], name: str) -> Mode:
    """Whether the smallest or the largest value is the best.

    Raises:
        UserError: the metric does not say.

    """
    if (mode := best_mode(metrics, name)) is None:
        raise UserError(
            f"The metric {name} does not say whether higher is better, so no value of it is the "
            f'best. Say so where the task names it: "{name}": metaloop.Metric(function, '
            "higher_is_better=False)."
        )
    return mode
