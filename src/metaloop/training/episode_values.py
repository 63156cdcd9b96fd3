"""Collect the reports of evaluated episodes over batches and processes."""

from typing import NamedTuple

import torch
import torchmetrics
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.utilities import dim_zero_cat

from metaloop.episode import Episode
from metaloop.inner_loop import Report

NONE = -1  # padding of episodes with fewer ways than others


class Answered(NamedTuple):
    """Learners' predictions for their query sets.

    Shapes (legend in episode.py):
        classes     [T, N]    global ids, padded by NONE if ways vary
        targets     [T, N*Q]  labels 0..N-1, padded likewise
        answers     [T, N*Q]  the predicted labels
        confidences [T, N*Q]  their probabilities, if outputs are logits
    """

    classes: Tensor
    targets: Tensor
    answers: Tensor
    confidences: Tensor


def has_classes(episodes: Episode) -> bool:
    """Check whether episodes have classes with global ids, and one label per example."""
    targets = episodes.query.targets
    return episodes.classes.shape[-1] > 0 and targets.ndim == 2 and not targets.is_floating_point()


class EpisodeValues(torchmetrics.Metric):
    """Collects the reports of evaluated episodes, independent of the process of each.

    Attributes:
        answered: predictions for the episodes computed last; None if they have no classes.

    """

    full_state_update = False
    index: list[Tensor]
    values: list[Tensor]
    classes: list[Tensor]
    targets: list[Tensor]
    answers: list[Tensor]
    confidences: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.answered: Answered | None = None
        for name in ("index", "values", *Answered._fields):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(
        self,
        index: Tensor,
        report: Report,
        episodes: Episode | None = None,
        *,
        most_ways: int | None = None,
    ) -> None:
        """Add some episodes: index [T], report[name] [T, K+1], and predictions if it has them.

        Predictions are padded to the most ways of any episode (`most_ways`), since processes gather
        tensors of one width.
        """
        self.names = [name for name in report if name not in Answered._fields]
        self.index.append(index)
        self.values.append(torch.stack([report[name].double() for name in self.names], dim=1))
        if "answers" in report:
            assert episodes is not None
            ways = episodes.classes.shape[1]
            wide = (most_ways or ways) / ways
            self.classes.append(_widen(episodes.classes, wide))
            self.targets.append(_widen(episodes.query.targets, wide))
            self.answers.append(_widen(report["answers"], wide))
            self.confidences.append(_widen(report["confidences"], wide))

    def compute(self) -> Report:
        """Return all episodes in the order of their indices: report[name] [episodes, K+1]."""
        order = dim_zero_cat(self.index).argsort()
        values = dim_zero_cat(self.values)[order]
        self.answered = None
        if len(self.answers):
            parts = (self.classes, self.targets, self.answers, self.confidences)
            self.answered = Answered(*(dim_zero_cat(part)[order].cpu() for part in parts))
        return dict(zip(self.names, values.unbind(1), strict=True))


def _widen(rows: Tensor, times: float) -> Tensor:
    return F.pad(rows, (0, round(rows.shape[1] * (times - 1))), value=NONE)
