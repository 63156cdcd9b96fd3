"""Find, read and load checkpoints and state dicts."""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pytorch_lightning.utilities import rank_zero_only
from safetensors.torch import load_file
from torch import Tensor, nn

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.training.meta_learner import MetaLearner
from metaloop.training.running_averages import AVERAGES
from metaloop.user_text import for_shell, say

Checkpoint = dict[str, Any]  # Lightning's; origin.py checks the content of one to resume from
_say = rank_zero_only(say)


class Resumable(NamedTuple):
    """An intact checkpoint to resume from, and its content."""

    path: Path
    content: Checkpoint


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint or state dict, check every byte, and execute nothing in it.

    Raises:
        UserError: if it is missing, truncated, damaged, or another kind of file.

    """
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path}.")
    try:
        if path.suffix == ".safetensors":
            return {**load_file(path)}
        with zipfile.ZipFile(path) as archive:  # torch.load checks no checksum
            if sum(part.file_size for part in archive.infolist()) > path.stat().st_size:
                raise UserError(f"{path} claims to contain more than its size: it is damaged.")
            if (damaged := archive.testzip()) is not None:
                raise UserError(f"The checkpoint {path} cannot be read: {damaged} is damaged.")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # a truncated file may raise anything
        raise UserError(
            f"The checkpoint {path} cannot be read: it is truncated, or not a file of weights "
            f"saved by torch ({type(error).__name__})."
        ) from error
    if not isinstance(content, dict):
        raise UserError(
            f"{path} contains a {type(content).__name__}, not a checkpoint or state dict."
        )
    return content


def find_resumable(folder: RunFolder) -> Resumable | None:
    """Read the newest intact checkpoint to resume from; None if the run has saved none.

    If last.ckpt is damaged, print a message and take the one before it.

    Raises:
        UserError: if all checkpoints are damaged.

    """
    candidates = _resumable(folder)
    for path in candidates:
        try:
            content = read_checkpoint(path)
        except UserError as error:
            _say(str(error))
        else:
            if path != candidates[0]:
                _say(f"Falling back to the checkpoint before it, {path}.")
                _set_aside(candidates[0])
            return Resumable(path, content)
    _refuse_damaged(folder, candidates)
    return None


def peek_resumable(folder: RunFolder) -> Resumable | None:
    """Find the checkpoint to resume from without reading its tensors; skip damaged files.

    The worker calls `find_resumable`, which checks every byte.

    Raises:
        UserError: if no checkpoint can be read.

    """
    candidates = _resumable(folder)
    for path in candidates:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception:  # a truncated file may raise anything
            continue
        if isinstance(content, dict):
            return Resumable(path, content)
    _refuse_damaged(folder, candidates)
    return None


def _resumable(folder: RunFolder) -> list[Path]:
    return [p for p in (folder.last_checkpoint, folder.previous_checkpoint) if p.exists()]


def _refuse_damaged(folder: RunFolder, candidates: list[Path]) -> None:
    if candidates:
        raise UserError(f"No checkpoint in {folder.checkpoints} can be read. Start a new run.")


@rank_zero_only
def _set_aside(path: Path) -> None:
    """Rename a damaged last.ckpt, which the next save would rename to previous.ckpt."""
    path.replace(path.with_suffix(".damaged"))


def find_weights(folder: RunFolder, which: str) -> Path:
    """Return the checkpoint to evaluate; for `best` the last one if there was no validation.

    Raises:
        UserError: if the run has no checkpoint.

    """
    candidates = [folder.last_checkpoint, folder.previous_checkpoint]
    if which == "best":
        candidates.insert(0, folder.best_checkpoint)
    for path in candidates:
        if path.exists():
            return path
    raise UserError(
        f"{folder.path} has no checkpoint yet. Train it first: "
        f"{for_shell('metaloop-resume', folder.path)}"
    )


def find_judged(folder: RunFolder, which: str, ensemble_size: int) -> list[Path]:
    """Return the checkpoints that an evaluation judges: one, or all of an ensemble.

    Raises:
        UserError: if the run has none, kept no ensemble, or kept a larger one.

    """
    if which != "ensemble":
        return [find_weights(folder, which)]
    members = sorted(folder.ensemble.glob("*.ckpt"))
    if not members:
        raise UserError(
            f"{folder.path} kept no ensemble: a run keeps the checkpoints of its best validations "
            "only if its config asks for it. Train with evaluation.checkpoint=ensemble."
        )
    if len(members) > ensemble_size:
        raise UserError(
            f"{folder.path} kept an ensemble of {len(members)}; evaluation.ensemble_size="
            f"{ensemble_size} cannot choose among them. Leave it as the run has it."
        )
    return members


def load_weights(module: nn.Module, path: Path) -> Checkpoint:
    """Load a module's weights from a checkpoint or a plain state dict; return its content.

    A MetaLearner's weights are the model's and the algorithm's own. A plain state dict, and a
    checkpoint loaded into a model, contain only the model's.

    Raises:
        UserError: if the file does not fit the module; it names the wrong parameters. Or if its
            run had diverged.

    """
    checkpoint = read_checkpoint(path)
    weights = fitting_weights(module, checkpoint, path)
    if unfit := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        raise UserError(
            f"{path} contains weights that are not finite ({unfit[0]}): its run diverged. Take "
            "another checkpoint, or train with a lower learning rate."
        )
    module.load_state_dict(weights)
    return checkpoint


def load_learner(learner: MetaLearner, path: Path) -> int:
    """Load a run's checkpoint; return its meta-step.

    Raises:
        UserError: if it does not fit, or is not a checkpoint of a run.

    """
    step = load_weights(learner, path).get("global_step")
    if not isinstance(step, int):
        raise UserError(
            f"{path} is not a checkpoint of a run: it has no meta-step. Restore a copy of the "
            "run's own, or name another run."
        )
    return step


def fitting_weights(module: nn.Module, checkpoint: Checkpoint, path: Path) -> dict[str, Tensor]:
    """Select the weights of a checkpoint or plain state dict that a module needs.

    Raises:
        UserError: if they do not fit; it names the wrong parameters.

    """
    found = checkpoint.get("state_dict", checkpoint)
    if not isinstance(found, dict) or not all(map(_is_weight, found.items())):
        raise UserError(f"{path} contains no weights by name, as torch saves a state dict.")
    weights: dict[str, Tensor] = found
    expected = module.state_dict()
    # a run's checkpoint has the prefix model.; weights saved by metaloop-adapt have not
    if "global_step" in checkpoint and not isinstance(module, MetaLearner):
        weights = {
            n.removeprefix("model."): t for n, t in weights.items() if n.startswith("model.")
        }
    # skip averages stored by another norm mode, which this one does not read
    weights = {
        n: t for n, t in weights.items() if n in expected or not n.startswith(f"own.{AVERAGES}")
    }
    problems = [f"lacks {name}" for name in expected if name not in weights]
    problems += [f"has {name}, which is unknown here" for name in weights if name not in expected]
    problems += [
        f"has {name} of shape {tuple(weights[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if problems:
        raise UserError(
            f"{path} belongs to another model or algorithm: it "
            f"{'; it '.join(problems[:4])}{' ..' if len(problems) > 4 else ''}. "
            "Choose those it was trained with."
        )
    return weights


def _is_weight(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)
