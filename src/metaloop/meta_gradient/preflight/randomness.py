"""Does a model draw chance where that would not be the same again? Asked before the first step."""

import warnings

import torch
from torch import Tensor, nn

from metaloop.algorithms.algorithm import Algorithm
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.inner_loop import Objective, Parameters
from metaloop.meta_gradient.preflight.trial import (
    in_float64,
    is_ours,
    parameters_and_support,
    some,
    theta_and_two_tasks,
)
from metaloop.meta_gradient.random_state import keep_random_state
from metaloop.meta_gradient.side_by_side import ChunksAtOnce


def exact_chunks_at_once(
    algorithm: Algorithm, meta: Parameters, episodes: Episode, chunks_at_once: ChunksAtOnce
) -> ChunksAtOnce:
    """Return chunks_at_once if the model draws no chance, else 1, with a warning if it was asked.

    Chunks at the same time take from one generator, whichever comes first: no run would repeat.
    `by_size` is 1 for models and algorithms of others, too: whether threads may run them, they
    alone know.
    """
    if chunks_at_once == 1 or episodes.classes.device.type != "cpu":
        return chunks_at_once
    is_metaloops = type(algorithm).__module__.startswith("metaloop.")
    if chunks_at_once == "by_size" and not (is_metaloops and is_ours(algorithm.objective.model)):
        return 1
    with keep_random_state(episodes.classes.device):
        if _drawing(algorithm, meta, episodes) is None:
            return chunks_at_once
    if chunks_at_once != "by_size":
        warnings.warn(
            f"{type(algorithm.objective.model).__name__} draws chance, for which chunks at the "
            f"same time would race: device.chunks_at_once={chunks_at_once} becomes 1.",
            stacklevel=2,
        )
    return 1


def refuse_chance(algorithm: Algorithm, meta: Parameters, episodes: Episode) -> None:
    """Refuse to evaluate twice what draws chance.

    Raises:
        UserError: the model draws chance.

    """
    if (drawing := _drawing(algorithm, meta, episodes)) is None:
        return
    raise UserError(
        f"adjoint={algorithm.describe().get('adjoint')} evaluates each inner step again on the way "
        f"back, so the model has to give the same support loss again; "
        f"{type(algorithm.objective.model).__name__} draws chance in {drawing}. Its gradient would "
        "mix different masks. Set algorithm.adjoint=unrolled, which is exact for the masks drawn, "
        "or the dropout to 0."
    )


def _drawing(algorithm: Algorithm, meta: Parameters, episodes: Episode) -> str | None:
    """What of the model draws chance in training; None if nothing does."""
    trial = in_float64(algorithm)
    model = trial.objective.model
    if not model.training:  # evaluation comes first: training will draw all the same
        model.train()
    theta, two = theta_and_two_tasks(meta, episodes)
    if not draws_chance(trial.objective, *parameters_and_support(trial, theta, two)):
        return None
    dropouts = [
        f"{name} ({type(module).__name__})"
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
    ]
    return some(dropouts) or "its forward pass"


def draws_chance(objective: Objective, theta: Parameters, support: Examples) -> bool:
    """Whether two evaluations at the same place differ, or take numbers from the generator.

    A layer at zero hides the first; a generator of the model's own, the second.
    """

    def evaluate() -> tuple[Tensor, Tensor]:
        loss = objective.support_loss(theta, support)
        state = torch.get_rng_state()
        if loss.is_cuda:
            state = torch.cat([state, torch.cuda.get_rng_state(loss.device)])
        return loss, state

    with torch.no_grad():
        (loss, state), (again, new_state) = evaluate(), evaluate()
    is_same = torch.isclose(loss, again, rtol=1e-9, atol=0.0, equal_nan=True)
    return not bool(is_same) or not torch.equal(state, new_state)
