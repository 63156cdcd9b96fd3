"""The check before the first step: task, network, loss, purity and exactness, in this order."""

import warnings
from dataclasses import replace

import torch
from torch import nn

from metaloop.algorithms.algorithm import Algorithm
from metaloop.episode import Episode, Episodes, count_elements, of_one_shape
from metaloop.inner_loop import Parameters
from metaloop.meta_gradient.known_exact import ALGORITHMS, is_known_exact
from metaloop.meta_gradient.meta_gradient import AtOnce
from metaloop.meta_gradient.preflight.algorithm_check import check_contract, check_names
from metaloop.meta_gradient.preflight.cause import some
from metaloop.meta_gradient.preflight.exactness import (
    Found,
    Inputs,
    choose_evaluation,
    choose_training,
)
from metaloop.meta_gradient.preflight.fault import not_vectorised
from metaloop.meta_gradient.preflight.forward_check import check_forward, check_parameters
from metaloop.meta_gradient.preflight.hidden_state import check_hidden_state, check_metrics
from metaloop.meta_gradient.preflight.purity import check_purity, refuse_twice
from metaloop.meta_gradient.preflight.task_check import check_episodes
from metaloop.meta_gradient.preflight.trial import (
    Modes,
    Trial,
    make_trial,
    modes_of,
    set_modes,
)
from metaloop.meta_gradient.preflight.verdict import Verdict
from metaloop.meta_gradient.preflight.ways import VECTORISED
from metaloop.meta_gradient.random_state import keep_random_state
from metaloop.meta_gradient.side_by_side import ChunksAtOnce
from metaloop.tasks import Task


def preflight_check(
    algorithm: Algorithm,
    meta: Parameters,
    episodes: Episodes,
    at_once: AtOnce,
    *,
    task: Task | None = None,
    modes: Modes | None = None,
    trains: bool = True,
    skips_known: bool = True,
) -> Verdict:
    """Find the first exact way to compute, on throw-away copies of the pieces.

    If shapes vary, the smallest and the largest are checked, and the way is exact for both.
    The caller's random state and pieces are not changed.

    Args:
        algorithm, meta, episodes: arguments of `meta_gradient`.
        at_once: how a meta-batch is to be split and computed.
        task: the source of the episodes; its shapes are checked too.
        modes: training mode of each module; None takes the model's modes, or train() if it is in
            eval().
        trains: whether meta-gradients are computed; if not, the learner only adapts.
        skips_known: skip the check of pieces that are known to be exact; see known_exact.py.

    Raises:
        UserError: the piece at fault, and what to change.

    """
    groups = sorted(of_one_shape(episodes), key=_elements_per_task)
    verdicts: list[Verdict] = []
    for group in [groups[0], groups[-1]][: len(groups)]:
        fitted = algorithm.for_ways(group.classes.shape[-1])
        verdict = _check(fitted, meta, group, at_once, task, modes, trains, skips_known)
        at_once = verdict.at_once
        verdicts.append(verdict)
    slower = dict.fromkeys(line for verdict in verdicts for line in verdict.slower)
    notes = dict.fromkeys(line for verdict in verdicts for line in verdict.notes)
    return replace(verdicts[-1], slower=tuple(slower), notes=tuple(notes))


def warn_of_slower(verdict: Verdict) -> None:
    """Warn for each way that was requested but not used."""
    for line in verdict.slower:
        warnings.warn(line, stacklevel=2)


def _check(
    algorithm: Algorithm,
    meta: Parameters,
    episodes: Episode,
    at_once: AtOnce,
    task: Task | None,
    modes: Modes | None,
    trains: bool,
    skips_known: bool,
) -> Verdict:
    """Check episodes of a single shape."""
    model = algorithm.objective.model
    check_names(algorithm)
    check_parameters(model, algorithm.objective.loss)
    check_episodes(episodes, task)
    modes = modes_of(model) if modes is None else modes
    is_known = is_known_exact(algorithm)
    is_skipped = is_known and skips_known
    with keep_random_state(episodes.classes.device):
        own = make_trial(algorithm, meta, episodes, None)
        inputs = algorithm, meta, episodes
        passes = _forward_passes(own, inputs, modes, task, trains=trains, is_known=is_skipped)
        if algorithm.evaluates_twice and trains and passes[0]:
            refuse_twice(own)
        chunks, slower = _chunks(own, at_once["chunks_at_once"], passes, is_known=is_known)
        if is_skipped:
            return Verdict(
                AtOnce(tasks_at_once=at_once["tasks_at_once"], chunks_at_once=chunks),
                "metaloop's pieces, known to be exact",
                slower=tuple(slower),
            )
        asked = AtOnce(tasks_at_once=at_once["tasks_at_once"], chunks_at_once=chunks)
        if trains and type(algorithm) not in ALGORITHMS:
            asked, slower = _check_foreign(own, asked, slower, is_model_random=passes[0])
        with torch.autocast(episodes.classes.device.type, enabled=False):
            if trains:
                found = choose_training(own, inputs, modes, asked, passes[0])
                found = _evaluates_too(own, inputs, found, passes[1])
            else:
                found = choose_evaluation(own, inputs, asked, passes[0])
    return _verdict(own, model, asked, found, slower)


def _elements_per_task(episodes: Episode) -> int:
    return count_elements(episodes.support.inputs) // len(episodes.classes)


def _forward_passes(
    own: Trial,
    inputs: Inputs,
    modes: Modes | None,
    task: Task | None,
    *,
    trains: bool,
    is_known: bool,
) -> list[bool]:
    """Run one forward pass in training mode and one in evaluation mode."""
    # if the number of classes varies, a model may have more outputs than any episode has classes
    output_size = None if task is None or own.objective.ways else task.output_size
    passes: list[bool] = []
    for mode in ("in training mode", "in eval()") if trains else ("in eval()",):
        set_modes(own.model, modes) if mode == "in training mode" else own.model.eval()
        if not (is_known and passes):
            check_forward(own, output_size)
        passes.append(check_purity(own, mode))
        if not is_known:
            fresh = make_trial(*inputs, None)
            set_modes(fresh.model, {n: m.training for n, m in own.model.named_modules()})
            check_hidden_state(own, fresh, inputs[0].objective.model, mode)
            check_metrics(own)
    set_modes(own.model, modes) if trains else own.model.eval()
    return passes


def _check_foreign(
    own: Trial, asked: AtOnce, slower: list[str], *, is_model_random: bool
) -> tuple[AtOnce, list[str]]:
    """Check an algorithm that is not metaloop's; one that is random runs task by task."""
    if not check_contract(own) or is_model_random or asked["tasks_at_once"] == 1:
        return asked, slower
    line = (
        f"The algorithm {type(own.algorithm).__name__} draws random numbers, and vectorised tasks "
        "draw others, so their exactness cannot be checked: device.tasks_at_once becomes 1."
    )
    return AtOnce(tasks_at_once=1, chunks_at_once=asked["chunks_at_once"]), [*slower, line]


def _evaluates_too(own: Trial, inputs: Inputs, found: Found, draws: bool) -> Found:
    """Compare evaluation, too, where tasks are to be vectorised: eval() may compute otherwise."""
    if found.at_once["tasks_at_once"] == 1:
        return found
    own.model.eval()
    evaluated = choose_evaluation(own, inputs, found.at_once, draws)
    if evaluated.at_once["tasks_at_once"] != 1:
        return found
    failed = replace(evaluated.tried[0], reason=f"{evaluated.tried[0].reason} in eval()")
    tried = tuple(failed if one.way == VECTORISED else one for one in found.tried)
    return replace(found, at_once={**found.at_once, "tasks_at_once": 1}, tried=tried)


def _chunks(
    own: Trial, asked: ChunksAtOnce, passes: list[bool], *, is_known: bool
) -> tuple[ChunksAtOnce, list[str]]:
    """Choose the chunks to compute at once: 1 where they would race for random numbers.

    `by_size` becomes 1 for foreign pieces, which may not be threadsafe.
    """
    if asked == 1 or own.tasks.classes.device.type != "cpu":
        return asked, []
    if asked == "by_size":
        return (asked if is_known and not passes[0] else 1), []
    name = type(own.model).__name__
    if any(passes):
        return 1, [
            f"{name} draws random numbers, and chunks computed at the same time would race for "
            f"them: device.chunks_at_once={asked} becomes 1."
        ]
    return asked, []


def _verdict(
    own: Trial, given: nn.Module, asked: AtOnce, found: Found, slower: list[str]
) -> Verdict:
    name = type(own.model).__name__
    failed = {one.way: one for one in found.tried if not one.is_exact}
    if VECTORISED in failed and found.at_once["tasks_at_once"] == 1 != asked["tasks_at_once"]:
        slower = [
            *slower,
            f"{name} {failed[VECTORISED].reason} when tasks are vectorised, so it runs task by "
            f"task, which is slower but exact. Look at {not_vectorised(own)}, or set "
            "device.tasks_at_once=1 to avoid this warning.",
        ]
    if found.at_once["chunks_at_once"] != asked["chunks_at_once"]:
        slower = [
            *slower,
            f"{name} cannot run in several threads ({found.why_not_threads}): "
            f"device.chunks_at_once={asked['chunks_at_once']} becomes 1.",
        ]
    notes = (*found.notes, *_of_hooks(given))
    return Verdict(found.at_once, found.checked, found.tried, notes, tuple(slower))


def _of_hooks(model: nn.Module) -> list[str]:
    hooked = [name for name, p in model.named_parameters() if p._backward_hooks]
    if not hooked:
        return []
    return [
        f"The hooks on {some(hooked)} see the meta-gradient alone, not the gradients of the inner "
        "loop. To mask a parameter in both, multiply it by the mask in forward."
    ]
