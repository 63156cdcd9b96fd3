"""Apply accepted changes to a checkpoint, which would undo some of them when restored."""

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
    """Rewrite a checkpoint's states of optimizer, schedule and callbacks.

    The schedule becomes the new config's, counted from meta-step 0. The optimizer keeps its moments
    if only numbers changed. A changed callback starts anew, also one that had ended the run.
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
    with warnings.catch_warnings():  # only the scheduler steps, to count
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
    """Check for a number or a list of them, which do not change the shape of the state."""
    if isinstance(value, list):
        return all(_is_number(inner) for inner in value)
    return isinstance(value, int | float) and not isinstance(value, bool)
