"""The weights that a run starts from, out of another run or a file."""

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
    """Load the base of adapters into a network and return True, if it can be loaded again.

    The base of a run with adapters is what that run started from. If it started at random its
    checkpoint holds base and adapters, which `load_initial_weights` loads together later; nothing
    is loaded here, and the answer is False.
    """
    path = find_initial_weights(init_from)
    checkpoint = read_checkpoint(path)
    if _has_adapters(checkpoint):
        earlier = checkpoint.get(ORIGIN, {}).get("config", {}).get("init_from")
        return earlier is not None and load_base(network, earlier)
    load_weights(network, path)
    return True


def _has_adapters(checkpoint: Checkpoint) -> bool:
    weights = checkpoint.get("state_dict", checkpoint)
    return isinstance(weights, dict) and any(is_adapter(str(name)) for name in weights)


def load_initial_weights(learner: MetaLearner, path: Path) -> None:
    """Load the model's weights to start from; with norm_mode=frozen the norms' statistics too.

    A base is not loaded again: `load_base` did, before adapters were added.

    Raises:
        UserError: if the file does not fit, or lacks statistics that are needed.

    """
    is_base = any(map(is_adapter, learner.meta)) and not _has_adapters(read_checkpoint(path))
    checkpoint = read_checkpoint(path) if is_base else load_weights(learner.model, path)
    objective = learner.algorithm.objective
    if not objective.reads_statistics:
        return
    weights: dict[str, Tensor] = checkpoint.get("state_dict", {})
    stored = own_statistics(objective, 1)  # a pretrained network's, in the buffers just loaded
    for name in learner.averages:
        found = weights.get(f"own.{name}")
        norm = name.removeprefix(AVERAGES).rpartition(":")[0].replace(":", ".")
        if found is None and has_statistics(objective.norms[norm]):
            found = stored[name.replace(":", ".")]
        if found is None:
            raise UserError(
                f"norm_mode={objective.norm_mode} normalises by stored statistics, and {path} has "
                f"none for {norm}. Start from a run of algorithm=pretrain, which stores them, from "
                "a network that holds some, or choose another norm_mode."
            )
        with torch.no_grad():
            learner.own[name].copy_(found[:1])


def find_initial_weights(init_from: str) -> Path:
    """Find the file that `init_from` names: a run folder's best checkpoint, or the file itself."""
    path = user_path(init_from)
    if path.is_dir():
        return find_weights(RunFolder.open(path), "best")
    if not path.is_file():
        raise UserError(
            f"init_from={init_from} is neither a run folder nor a file with a state dict."
        )
    return path
