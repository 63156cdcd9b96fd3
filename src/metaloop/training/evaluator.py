"""Evaluate learners on episodes, at every inner step."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from metaloop.algorithms import Algorithm
from metaloop.inner_loop import NormModeName, Parameters, Report
from metaloop.meta_gradient import AtOnce, adaptation_path
from metaloop.tasks.metric import MetricFunction
from metaloop.training.datamodule import MetaBatch
from metaloop.training.episode_values import Answered, EpisodeValues, has_classes


class Evaluator(torch.nn.Module):
    """Judges a learner, or an ensemble, on episodes and collects the reports.

    It is a module only to follow its MetaLearner to a device; it has no weights.

    Attributes:
        evaluated: report[name] [episodes, K+1] of the last evaluation.

    """

    def __init__(self) -> None:
        super().__init__()
        self.evaluated: Report = {}
        self._members: Sequence[Parameters] = ()
        self._meta_step: int | None = None
        self._norm_modes: Sequence[NormModeName] = ()
        self._metrics: Mapping[str, MetricFunction] = {}
        self._values = EpisodeValues()

    @property
    def answered(self) -> Answered | None:
        """Predictions in the last evaluation; None if its episodes have no classes."""
        return self._values.answered

    def set_judged(
        self,
        members: Sequence[Parameters],
        *,
        meta_step: int,
        norm_modes: Sequence[NormModeName] = (),
        metrics: Mapping[str, MetricFunction] = {},
    ) -> None:
        """Set the weights to judge instead of those in training.

        Args:
            members: a learner's weights, or those of an ensemble, whose predictions are averaged.
            meta_step: meta-step of their checkpoint, at which schedules are evaluated.
            norm_modes, metrics: further ones to report, besides the objective's own.

        """
        self._members, self._meta_step = members, meta_step
        self._norm_modes, self._metrics = norm_modes, metrics

    def judge(
        self,
        algorithm: Algorithm,
        meta: Parameters,
        batch: MetaBatch,
        *,
        meta_step: int,
        at_once: AtOnce,
        is_detailed: bool,
    ) -> None:
        """Adapt to some episodes and add their reports; `meta` is the learner in training."""
        device = batch.indices.device
        judged = algorithm.at(meta_step if self._meta_step is None else self._meta_step)
        if self._metrics:
            metrics = {**self._metrics, **judged.objective.metrics}
            judged = judged.judged_by(replace(judged.objective, metrics=metrics))
        members = [{n: p.to(device) for n, p in m.items()} for m in self._members]
        for indices, episodes in batch.groups:
            path = adaptation_path(
                judged,
                members or meta,
                episodes,
                steps=algorithm.eval_inner_steps,
                **at_once,
                norm_modes_beside=self._norm_modes,
                is_detailed=is_detailed,
                with_answers=has_classes(episodes),
            )
            self._values.update(indices, path, episodes, most_ways=algorithm.objective.ways)

    def finish(self) -> Report:
        """Collect the episodes of all processes in order, and reset for the next evaluation."""
        self.evaluated = {name: v.cpu() for name, v in self._values.compute().items()}
        self._values.reset()
        return self.evaluated
