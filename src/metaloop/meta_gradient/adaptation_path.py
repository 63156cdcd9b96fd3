"""Adapt learners and measure losses and metrics at every inner step, for evaluation and reports."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from metaloop.algorithms.algorithm import Algorithm
from metaloop.episode import Episode, Episodes
from metaloop.inner_loop import NormModeName, Objective, Parameters, Report, gradient_of
from metaloop.meta_gradient.chunks import TasksAtOnce, chunks, concatenate, over_tasks
from metaloop.meta_gradient.side_by_side import ChunksAtOnce, side_by_side


def adaptation_path(
    algorithm: Algorithm,
    meta: Parameters | Sequence[Parameters],
    episodes: Episodes,
    *,
    steps: int,
    tasks_at_once: TasksAtOnce = "all",
    chunks_at_once: ChunksAtOnce = 1,
    norm_modes_beside: Sequence[NormModeName] = (),
    is_detailed: bool = False,
    with_answers: bool = False,
) -> Report:
    """Adapt to every task and report phi_0 .. phi_steps; no outer graph is kept.

    If `meta` is a sequence, it is an ensemble: each member adapts, and their predictions are
    averaged (class probabilities, or real values: Antoniou et al. 2019, arXiv:1810.09502,
    section 5).

    `norm_modes_beside` are extra norm modes, reported as `query_loss@MODE` and metrics `NAME@MODE`.

    `is_detailed` adds `support_gradient_norm`, `query_gradient_norm` and `gradient_cosine` of the
    (first) learner: losses' gradients in the parameters that adapt. A cosine near one means that
    progress on the support set is progress on the query set.

    Shapes:
        episodes      [T, ...], or a list of such, one for each shape of its tasks
        report[name]  [T, steps+1]  support_loss, query_loss, the metrics of both sets
        report["answers"]  [T, queries]  predicted classes after the last step, if with_answers
        report["confidences"]  likewise  their probabilities
    """
    members = [meta] if isinstance(meta, Mapping) else list(meta)
    constant = [{name: p.detach() for name, p in member.items()} for member in members]

    def path(algorithm: Algorithm, task: Episode) -> Report:
        reports, predictions = _judge_path(algorithm, constant, task, steps, is_detailed)
        for mode in norm_modes_beside:
            objective = replace(algorithm.objective, norm_mode=mode)
            other, _ = _judge_path(algorithm.judged_by(objective), constant, task, steps, False)
            reports |= {f"{n}@{mode}": v for n, v in other.items() if not n.startswith("support_")}
        return reports | (_answers(predictions) if with_answers else {})

    def paths(algorithm: Algorithm, chunk: Episode) -> Report:
        fitted = algorithm.for_ways(chunk.classes.shape[-1])
        return over_tasks(partial(path, fitted), chunk, algorithm.objective.model)

    parts = list(chunks(episodes, tasks_at_once))
    with torch.no_grad():
        return concatenate(list(side_by_side(paths, algorithm, parts, chunks_at_once)))


def average_predictions(predictions: Sequence[Tensor], targets: Tensor) -> Tensor:
    """Average real values; for classes, return the logits of the mean probabilities."""
    if len(predictions) == 1:
        return predictions[0]
    stacked = torch.stack(list(predictions))
    if targets.is_floating_point():
        return stacked.mean(0)
    return stacked.log_softmax(-1).logsumexp(0) - math.log(len(stacked))


def _judge_path(
    algorithm: Algorithm,
    members: Sequence[Parameters],
    task: Episode,
    steps: int,
    is_detailed: bool,
) -> tuple[Report, Tensor]:
    judged = []
    paths = [algorithm.adapt(member, task.support, steps) for member in members]
    for phis in zip(*paths, strict=True):
        report, predictions = _judge(algorithm.objective, phis, task)
        if is_detailed:
            report |= _gradients(algorithm.objective, algorithm.names, phis[0], task)
        judged.append(report)
    return {name: torch.stack([r[name] for r in judged]) for name in judged[0]}, predictions


def _judge(
    objective: Objective, phis: Sequence[Parameters], task: Episode
) -> tuple[Report, Tensor]:
    support, query = task.support, task.query
    seen = [objective.predict_support(phi, support.inputs) for phi in phis]
    unseen = [objective.predict_query(phi, task) for phi in phis]
    loss, report = objective.judge(average_predictions(seen, support.targets), support.targets)
    of_support = {f"support_{name}": report[name] for name in objective.metrics}
    predictions = average_predictions(unseen, query.targets)
    of_query = objective.judge(predictions, query.targets)[1]
    return {"support_loss": loss, **of_query, **of_support}, predictions


def _answers(logits: Tensor) -> Report:
    return {"answers": logits.argmax(-1), "confidences": logits.softmax(-1).amax(-1)}


def _gradients(
    objective: Objective, names: Sequence[str], phi: Parameters, task: Episode
) -> Report:
    def support_loss(part: Parameters) -> Tensor:
        return objective.support_loss({**phi, **part}, task.support)

    def query_loss(part: Parameters) -> Tensor:
        return objective.judge_query({**phi, **part}, task)[0]

    part = {name: phi[name] for name in names}
    support, query = (_flat(gradient_of(loss, part)) for loss in (support_loss, query_loss))
    norms = support.norm(), query.norm()
    return {
        "support_gradient_norm": norms[0],
        "query_gradient_norm": norms[1],
        "gradient_cosine": support @ query / (norms[0] * norms[1]),
    }


def _flat(gradient: Parameters) -> Tensor:
    return torch.cat([g.flatten() for g in gradient.values()])
