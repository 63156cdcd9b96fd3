"""The weights that a run starts from: those of another run, or a file's."""

from pathlib import Path

import torch
from torch import Tensor, nn

from metaloop.adapters import is_adapter
from metaloop.callbacks.checkpoint_io import ORIGIN
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.folders.user_path import user_path
from metaloop.inner_loop import has_statistics, own_statistics
from metaloop.run.checkpoints.weights import Checkpoint, find_weights, load_weights, read_checkpoint
from metaloop.training.meta_learner import MetaLearner
from metaloop.training.running_averages import AVERAGES


def load_base(network: nn.Module, init_from: str) -> bool:
    """Load the weights that adapters are added to; whether they are somewhere to be had again.

    Of a run with adapters those are the ones that it started from itself. One that started from
    none holds its base: it is loaded with its adapters, when the network has some.
    """
    path = find_initial_weights(init_from)
    checkpoint = read_checkpoint(path)
    if _has_adapters(checkpoint):
        below = checkpoint.get(ORIGIN, {}).get("config", {}).get("init_from")
        return below is not None and load_base(network, below)
    load_weights(network, path)
    return True


def _has_adapters(checkpoint: Checkpoint) -> bool:
    weights = checkpoint.get("state_dict", checkpoint)
    return isinstance(weights, dict) and any(is_adapter(str(name)) for name in weights)


def load_initial_weights(learner: MetaLearner, path: Path) -> None:
    """Load the model's weights to start from; with norm_mode=frozen the norms' statistics too.

    A model with adapters has been given a base before them.

    Raises:
        UserError: the file does not fit, or has no statistics where they are needed.

    """
    is_base = any(map(is_adapter, learner.meta)) and not _has_adapters(read_checkpoint(path))
    checkpoint = read_checkpoint(path) if is_base else load_weights(learner.model, path)
    objective = learner.algorithm.objective
    if not objective.reads_statistics:
        return
    weights: dict[str, Tensor] = checkpoint.get("state_dict", {})
    held = own_statistics(objective, 1)  # of a pretrained network, whose buffers were just loaded
    for name in learner.averages:
        found = weights.get(f"own.{name}")
        norm = name.removeprefix(AVERAGES).rpartition(":")[0].replace(":", ".")
        if found is None and has_statistics(objective.norms[norm]):
            found = held[name.replace(":", ".")]
        if found is None:
            raise UserError(
                f"norm_mode={objective.norm_mode} normalises by stored statistics, and {path} has "
                f"none for {norm}. Start from a run of algorithm=pretrain, which stores them, from "
                "a network that holds some, or choose another norm_mode."
            )
        with torch.no_grad():
            learner.own[name].copy_(found[:1])


def find_initial_weights(init_from: str) -> Path:
    """The file that `init_from` names: a run folder's best checkpoint, or the file itself."""
    path = user_path(init_from)
    if path.is_dir():
        return find_weights(RunFolder.open(path), "best")
    if not path.is_file():
        raise UserError(
            f"init_from={init_from} is neither a run folder nor a file with a state dict."
        )
    return path
