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


def leave_one_out(adapted: Adapted) -> tuple[Report, str] | None:
    """Adapt again without each support example in turn, and evaluate on that example.

    The only example of a class is never left out. The adaptations are vectorised over the examples
    left out. With norm_mode=transductive a single query example has no statistics, so the norms
    use the support set's, as with `inductive`.

    Returns:
        the report, [examples left out, K+1], and the norm mode; None if every class has only one
        example, so that nothing can be left out.

    """
    algorithm, support = adapted.algorithm, adapted.support
    rows = torch.arange(len(support.targets), device=support.targets.device)
    left_out = rows
    if adapted.classes_ is not None:
        left_out = rows[support.targets.bincount()[support.targets] > 1]
    if len(left_out) == 0 or len(rows) < 2:
        return None
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
