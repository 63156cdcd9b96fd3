"""Evaluate an adaptation at every inner step, example by example."""

from dataclasses import replace

import torch
from torch import Tensor

from metaloop.adapted.adapted import Adapted
from metaloop.episode import Episode, Examples
from metaloop.inner_loop import Objective, Report
from metaloop.meta_gradient import AtOnce, adaptation_path, preflight_check, warn_of_slower
from metaloop.tasks.metric import of_examples

EXAMPLES_AT_ONCE = 512  # support examples of all the tasks vectorised together


def judge_path(adapted: Adapted, query: Examples | None) -> Report:
    """Evaluate phi_0 .. phi_K on each support example and on each query example, if any.

    Shapes:
        report[name]  [examples, K+1]  support_loss, support_<metrics>, query_loss, <metrics>
    """
    judged: list[Report] = []
    objective, support = _for_examples(adapted.algorithm.objective), adapted.support
    for phi in adapted.path():
        with torch.no_grad():
            seen = objective.predict_support(phi, support.inputs)
        report = {
            f"support_{name.removeprefix('query_')}": values
            for name, values in _each(objective, seen, support.targets).items()
        }
        if query is not None:
            unseen = adapted.outputs_of(phi, query.inputs)
            report |= _each(objective, unseen, query.targets)
        judged.append(report)
    return {name: torch.stack([r[name] for r in judged], 1) for name in judged[0]}


def rows_to_leave_out(adapted: Adapted) -> Tensor:
    """Return the rows of support examples whose class has others; none if there is one example."""
    targets = adapted.support.targets
    rows = torch.arange(len(targets), device=targets.device)
    if adapted.classes_ is not None:
        return rows[targets.bincount()[targets] > 1]
    return rows if len(rows) > 1 else rows[:0]


def leave_one_out(adapted: Adapted, left_out: Tensor) -> tuple[Report, str]:
    """Adapt again without each of these support rows in turn, and evaluate on that example.

    The adaptations are vectorised over the examples left out. With norm_mode=transductive a single
    query example has no statistics, so the norms use the support set's, as with `inductive`.

    Returns:
        the report, [examples left out, K+1], and the norm mode.

    """
    algorithm, support = adapted.algorithm, adapted.support
    rows = torch.arange(len(support.targets), device=support.targets.device)
    objective = _for_examples(algorithm.objective)
    if objective.norms:
        objective = replace(objective, norm_mode=objective.mode.for_one_example)
    algorithm = algorithm.judged_by(objective)
    kept = torch.stack([rows[rows != row] for row in left_out])
    episodes = Episode(
        support.map(lambda part: part[kept]),
        support.map(lambda part: part[left_out[:, None]]),
        rows.new_zeros(len(left_out), 0),  # class ids are not used
    )
    at_once = max(1, EXAMPLES_AT_ONCE // len(rows))
    verdict = preflight_check(
        algorithm,
        adapted.meta,
        episodes,
        AtOnce(tasks_at_once=at_once, chunks_at_once=1),
        trains=False,
    )
    warn_of_slower(verdict)
    report = adaptation_path(
        algorithm,
        adapted.meta,
        episodes,
        steps=adapted.steps,
        **verdict.at_once,
    )
    return report, algorithm.objective.norm_mode


def _for_examples(objective: Objective) -> Objective:
    """Leave out metrics of whole sets, which the mean over examples is not."""
    return replace(objective, metrics=of_examples(objective.metrics))


def _each(objective: Objective, predictions: Tensor, targets: Tensor) -> Report:
    """Compute loss and metrics of each single example, [examples]."""

    def judge(prediction: Tensor, target: Tensor) -> Report:
        return objective.judge(prediction[None], target[None])[1]

    return torch.func.vmap(judge)(predictions, targets)
