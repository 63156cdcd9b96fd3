"""What every evaluated episode reported, collected over batches and processes."""

from typing import NamedTuple

import torch
import torchmetrics
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.utilities import dim_zero_cat

from metaloop.episode import Episode
from metaloop.inner_loop import Report

NONE = -1  # fills what an episode of fewer ways than others lacks


class Answered(NamedTuple):
    """What learners said of their query sets.

    Shapes (legend in episode.py):
        classes [T, N]     global ids        targets, answers [T, N*Q]  labels 0..N-1
        confidences [T, N*Q]  the answers' probabilities, where outputs are logits
        where ways vary, of the most ways N; NONE fills what is not there
    """

    classes: Tensor
    targets: Tensor
    answers: Tensor
    confidences: Tensor


def has_classes(episodes: Episode) -> bool:
    """Whether episodes are of classes with global ids, a label an example."""
    targets = episodes.query.targets
    return episodes.classes.shape[-1] > 0 and targets.ndim == 2 and not targets.is_floating_point()


class EpisodeValues(torchmetrics.Metric):
    """Keeps what each evaluated episode reported; the same whatever process evaluated it.

    Attributes:
        answered: of the episodes computed last; None where they are of no classes.

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
        """Add some episodes: index [T], report[name] [T, K+1], and their answers if it has.

        Where episodes may have more ways (`most_ways`), answers are kept as wide as those':
        processes gather tensors of one width.
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
        """All episodes in the order of their numbers: report[name] [episodes, K+1]."""
        order = dim_zero_cat(self.index).argsort()
        values = dim_zero_cat(self.values)[order]
        self.answered = None
        if len(self.answers):
            parts = (self.classes, self.targets, self.answers, self.confidences)
            self.answered = Answered(*(dim_zero_cat(part)[order].cpu() for part in parts))
        return dict(zip(self.names, values.unbind(1), strict=True))


def _widen(rows: Tensor, times: float) -> Tensor:
    return F.pad(rows, (0, round(rows.shape[1] * (times - 1))), value=NONE)
