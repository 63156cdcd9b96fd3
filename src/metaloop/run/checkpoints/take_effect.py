"""Accepted changes made to tell: what a checkpoint restores would undo some of them."""

import warnings
from collections.abc import Mapping
from typing import cast

from pytorch_lightning.callbacks import Callback
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from metaloop.callbacks.resume_checkpoint import STOPPED
from metaloop.run.checkpoints.origin import Changes
from metaloop.run.checkpoints.weights import Checkpoint
from metaloop.training.meta_learner import MetaLearner

RATES = ("optimizer.", "scheduler.", "training.own_lr")


def take_effect(
    changes: Changes,
    checkpoint: Checkpoint,
    learner: MetaLearner,
    callbacks: Mapping[str, Callback],
) -> None:
    """Rewrite what a checkpoint would restore of optimizer, schedule and callbacks.

    The schedule is that of the new config since meta-step 0. The optimizer keeps its moments
    where only numbers changed. A callback that changed starts anew; so does one that had ended
    the run.
    """
    if any(key.startswith(RATES) for key in changes):
        _renew_rates(changes, checkpoint, learner)
    changed = {key.split(".")[1] for key in changes if key.startswith("callbacks.")}
    if changed:
        for name in changed & set(callbacks):
            checkpoint["callbacks"].pop(callbacks[name].state_key, None)
        checkpoint[STOPPED] = False


def _renew_rates(changes: Changes, checkpoint: Checkpoint, learner: MetaLearner) -> None:
    made = cast(tuple[list[Optimizer], list[LRScheduler]], learner.configure_optimizers())
    (optimizer,), (scheduler,) = made
    with warnings.catch_warnings():  # the optimizer takes no step: this only counts
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*optimizer.step.*")
        for _ in range(checkpoint["global_step"]):
            scheduler.step()
    fresh = optimizer.state_dict()
    (saved,) = checkpoint["optimizer_states"]
    if all(_is_number(b) for key, (_, b) in changes.items() if key.startswith("optimizer.")):
        fresh["state"] = saved["state"]
    checkpoint["optimizer_states"] = [fresh]
    checkpoint["lr_schedulers"] = [scheduler.state_dict()]


def _is_number(value: object) -> bool:
    """Whether it is one, or several as Adam's betas are; a switch or a class changes the state."""
    if isinstance(value, list):
        return all(_is_number(inner) for inner in value)
    return isinstance(value, int | float) and not isinstance(value, bool)
