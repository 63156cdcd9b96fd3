"""Find the first exact way: check the derivatives, the meta-gradient, then the run's dtype."""

from contextlib import suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from metaloop.algorithms.algorithm import Algorithm
from metaloop.episode import Episode
from metaloop.errors import UserError
from metaloop.inner_loop import Parameters
from metaloop.meta_gradient.meta_gradient import AtOnce, Gradient
from metaloop.meta_gradient.preflight.cause import first_line, no_gradient, suspects
from metaloop.meta_gradient.preflight.fault import no_second_derivative, not_finite
from metaloop.meta_gradient.preflight.pieces import check_pieces
from metaloop.meta_gradient.preflight.purity import draws_now
from metaloop.meta_gradient.preflight.trial import (
    Modes,
    Trial,
    make_trial,
    move_away,
    set_modes,
    support_and_loss,
    without_dropout,
)
from metaloop.meta_gradient.preflight.verdict import Tried
from metaloop.meta_gradient.preflight.ways import (
    ONE_BY_ONE,
    SIDE_BY_SIDE,
    VECTORISED,
    is_finite,
    of_evaluation,
    of_training,
    plain_meta_gradient,
    try_way,
)
from metaloop.substitutes.precision import HALF

Inputs = tuple[Algorithm, Parameters, Episode]
_COARSE = "Its half precision is too coarse to compare second derivatives with finite differences."


@dataclass(frozen=True)
class Found:
    """The chosen way, and what was found while choosing it."""

    at_once: AtOnce
    checked: str
    tried: tuple[Tried, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def why_not_threads(self) -> str:
        """Reason why two tasks cannot be computed side by side."""
        return next((one.reason for one in self.tried if one.way == SIDE_BY_SIDE), "")


def choose_training(
    own: Trial, inputs: Inputs, modes: Modes | None, asked: AtOnce, draws: bool
) -> Found:
    """Compare ways to compute a meta-gradient with plain autograd; choose the first exact one."""
    trial, plain, precise = _precise(own, inputs, modes)
    away = move_away(trial)
    notes = [_COARSE] if precise in HALF else check_pieces(trial, (trial, away), precise)
    plain_away: Gradient = {}
    with suppress(Exception):  # its inner steps leave the loss's domain, where that raises
        plain_away = plain_meta_gradient(away)
    if plain_away and is_finite(plain_away):
        plain = plain_away
    elif is_finite(plain):
        away = trial  # its inner steps leave the loss's domain
    else:
        raise not_finite(trial)
    tried = []
    if asked["tasks_at_once"] != 1:
        tried.append(_vectorised(away, plain, precise, draws))
    tried.append(try_way(away, ONE_BY_ONE, plain, precise))
    if asked["chunks_at_once"] not in (1, "by_size"):
        tried.append(try_way(away, SIDE_BY_SIDE, plain, precise))
    tried = [_in_own_type(own, one) if one.is_exact else one for one in tried]
    if precise is not torch.float64:
        notes.append(
            f"Compared in {_name(precise)} (float64 fails, or the model does not compute in it)."
        )
    _refuse_none(own, tried)
    worst = max(one.error or 0.0 for one in tried if one.is_exact)
    checked = (
        f"the meta-gradient of {type(own.model).__name__} equals plain autograd's "
        f"to {worst:.0e} in {_name(precise)}"
    )
    return Found(_take(tried, asked), checked, tuple(tried), tuple(notes))


def choose_evaluation(own: Trial, inputs: Inputs, asked: AtOnce, draws: bool) -> Found:
    """Compare vectorised adaptation with adaptation task by task."""
    trial = own
    try:
        wide = make_trial(*inputs, torch.float64)
        wide.model.eval()
        plain, trial = of_evaluation(wide, ONE_BY_ONE), wide
    except Exception:  # some models run only in their dtype
        try:
            plain = of_evaluation(own, ONE_BY_ONE)
        except UserError:
            raise
        except Exception as error:
            raise no_gradient(own.algorithm, error) from error
    precise = _precision(trial)
    tried = []
    if asked["tasks_at_once"] != 1:
        tried.append(
            _unknowable() if draws else try_way(trial, VECTORISED, plain, precise, of_evaluation)
        )
    tried.append(Tried(ONE_BY_ONE, 0.0, "", 0.0))
    checked = f"{type(own.model).__name__} adapts the same as task by task, in {_name(precise)}"
    return Found(_take(tried, asked), checked, tuple(tried))


def _precise(
    own: Trial, inputs: Inputs, modes: Modes | None
) -> tuple[Trial, Gradient, torch.dtype]:
    """Return the trial in float64, or in its dtype if float64 fails, and its actual precision."""
    wide = make_trial(*inputs, torch.float64)
    set_modes(wide.model, modes)
    try:
        plain = plain_meta_gradient(wide)
    except UserError:
        raise
    except Exception as wide_error:
        try:
            plain = plain_meta_gradient(own)
        except Exception as error:
            raise no_second_derivative(own, error) from wide_error
        return own, plain, torch.float32
    return wide, plain, _precision(wide)


def _vectorised(trial: Trial, plain: Gradient, precise: torch.dtype, draws: bool) -> Tried:
    """Compare all tasks vectorised; without dropout, whose masks would differ."""
    if not draws:
        return try_way(trial, VECTORISED, plain, precise)
    with without_dropout(trial.model):
        if draws_now(trial):  # not a dropout layer: forward may read self.training
            trial.model.eval()
            if draws_now(trial):
                return _unknowable()
        return try_way(trial, VECTORISED, plain_meta_gradient(trial), precise)


def _unknowable() -> Tried:
    reason = "draws random numbers in eval() too, so its exactness cannot be checked"
    return Tried(VECTORISED, None, reason, 0.0)


def _in_own_type(own: Trial, one: Tried) -> Tried:
    """Run an exact way once in the run's dtype, which may use other kernels."""
    try:
        of_training(own, one.way)
    except Exception as error:
        if one.way == ONE_BY_ONE:
            raise no_gradient(own.algorithm, error) from error
        reason = f"fails in {_name(own.dtype)} ({first_line(error)})"
        return Tried(one.way, one.error, reason, one.seconds)
    return one


def _refuse_none(own: Trial, tried: list[Tried]) -> None:
    if any(one.is_exact for one in tried):
        return
    reasons = "; ".join(f"{one.way}: {one.reason}" for one in tried)
    raise UserError(
        f"{type(own.model).__name__} has no exact meta-gradient: {reasons}. Look at "
        f"{suspects(own.model)}, and at the loss."
    )


def _take(tried: list[Tried], asked: AtOnce) -> AtOnce:
    exact = {one.way for one in tried if one.is_exact}
    tasks, chunks = asked["tasks_at_once"], asked["chunks_at_once"]
    if tasks != 1 and VECTORISED not in exact:
        tasks = 1
    if chunks not in (1, "by_size") and SIDE_BY_SIDE not in exact and _was(tried, SIDE_BY_SIDE):
        chunks = 1
    return AtOnce(tasks_at_once=tasks, chunks_at_once=chunks)


def _was(tried: list[Tried], way: str) -> bool:
    return any(one.way == way for one in tried)


def _precision(trial: Trial) -> torch.dtype:
    """Return float64 if the loss is computed in it throughout, else its coarsest dtype."""
    if trial.dtype is not torch.float64:
        return torch.float32
    watch = _Narrow()
    # torch.cond, for instance, does not run under a mode
    with suppress(Exception), watch, trial.same_random_state(), torch.no_grad():
        support_and_loss(trial)[1](trial.theta)
    return max([torch.float64, *watch.found], key=lambda dtype: torch.finfo(dtype).eps)


class _Narrow(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record the dtypes to which float64 is narrowed, not those of constants of the model."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: set[torch.dtype] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        result = func(*args, **(kwargs or {}))
        if torch.float64 in _float_types(args):
            self.found |= _float_types(result)
        return result


def _float_types(values: object) -> set[torch.dtype]:
    """Collect the dtypes of real tensors, and of complex ones' parts; scalars do not count."""
    types = {t.dtype for t in pytree.tree_leaves(values) if isinstance(t, Tensor) and t.ndim}
    return {t.to_real() for t in types if t.is_floating_point or t.is_complex}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
