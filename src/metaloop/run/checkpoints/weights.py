"""Checkpoints and state dicts: finding, reading and loading them, or saying why not."""

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

Checkpoint = dict[str, Any]  # as Lightning has it; origin.py checks what is in one to resume from
_say = rank_zero_only(say)


class Resumable(NamedTuple):
    """A whole checkpoint to resume from, and what is in it."""

    path: Path
    content: Checkpoint


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint or state dict, every byte checked, without executing anything in it.

    Raises:
        UserError: it is missing, torn, changed, or no such file.

    """
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path}.")
    try:
        if path.suffix == ".safetensors":
            return {**load_file(path)}
        with zipfile.ZipFile(path) as archive:  # torch.load itself compares no checksum
            if sum(part.file_size for part in archive.infolist()) > path.stat().st_size:
                raise UserError(f"{path} claims to hold more than its size: torch saves no such.")
            if (damaged := archive.testzip()) is not None:
                raise UserError(f"The checkpoint {path} cannot be read: {damaged} is damaged.")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # a torn file fails in whatever way its bytes happen to
        raise UserError(
            f"The checkpoint {path} cannot be read: it is cut short, or no file of weights that "
            f"torch saved ({type(error).__name__})."
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, no checkpoint or state dict.")
    return content


def find_resumable(folder: RunFolder) -> Resumable | None:
    """Read the newest whole checkpoint to resume from; None where the run has saved none.

    A damaged last.ckpt gives way, with a message, to the one before it.

    Raises:
        UserError: there are checkpoints, and none is whole.

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
    """Like `find_resumable`, quickly: tensors stay on the disk, and a damaged file is passed over.

    The worker reads every byte, and says what it finds.

    Raises:
        UserError: there are checkpoints, and none can be read.

    """
    candidates = _resumable(folder)
    for path in candidates:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception:  # torn in whatever way its bytes happen to be
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
    """Rename a damaged last.ckpt: the next save would make it `previous`."""
    path.replace(path.with_suffix(".damaged"))


def find_weights(folder: RunFolder, which: str) -> Path:
    """The checkpoint to evaluate; `best` is the last one where no validation chose a best.

    Raises:
        UserError: the run has no checkpoint.

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
    """The checkpoints that an evaluation judges: one, or all of an ensemble.

    Raises:
        UserError: the run has none, kept no ensemble, or kept a larger one.

    """
    if which != "ensemble":
        return [find_weights(folder, which)]
    members = sorted(folder.ensemble.glob("*.ckpt"))
    if not members:
        raise UserError(
            f"{folder.path} kept no ensemble: a run keeps the checkpoints of its best validations "
            "only where its config names them. Train with evaluation.checkpoint=ensemble."
        )
    if len(members) > ensemble_size:
        raise UserError(
            f"{folder.path} kept an ensemble of {len(members)}; evaluation.ensemble_size="
            f"{ensemble_size} cannot choose among them. Leave it as the run has it."
        )
    return members


def load_weights(module: nn.Module, path: Path) -> Checkpoint:
    """Load a module's weights from a checkpoint or a plain state dict; return what was read.

    For a MetaLearner those are the model's and the algorithm's own. A plain state dict, or a
    checkpoint loaded into a bare model, is the model's alone.

    Raises:
        UserError: the file does not fit the module, naming the parameters that do not; or its
            run had diverged.

    """
    checkpoint = read_checkpoint(path)
    weights = fitting_weights(module, checkpoint, path)
    if unfit := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        raise UserError(
            f"{path} holds weights that are not finite ({unfit[0]}): its run diverged. Take "
            "another checkpoint, or train with a lower learning rate."
        )
    module.load_state_dict(weights)
    return checkpoint


def load_learner(learner: MetaLearner, path: Path) -> int:
    """Load a run's checkpoint; return its meta-step.

    Raises:
        UserError: it does not fit, or is no checkpoint of a run.

    """
    step = load_weights(learner, path).get("global_step")
    if not isinstance(step, int):
        raise UserError(
            f"{path} is no checkpoint of a run: it tells no meta-step. Put a copy of the run's own "
            "back, or name another run."
        )
    return step


def fitting_weights(module: nn.Module, checkpoint: Checkpoint, path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint or plain state dict that a module takes.

    Raises:
        UserError: they do not fit, naming the parameters that do not.

    """
    found = checkpoint.get("state_dict", checkpoint)
    if not isinstance(found, dict) or not all(map(_is_weight, found.items())):
        raise UserError(f"{path} holds no weights by their names, as torch saves a state dict.")
    weights: dict[str, Tensor] = found
    expected = module.state_dict()
    # a run's checkpoint; metaloop-adapt saves the model's weights by the model's own names
    if "global_step" in checkpoint and not isinstance(module, MetaLearner):
        weights = {
            n.removeprefix("model."): t for n, t in weights.items() if n.startswith("model.")
        }
    # averages that another norm mode stored: this one does not read them
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
            f"{path} is of another model or algorithm: it "
            f"{'; it '.join(problems[:4])}{' ..' if len(problems) > 4 else ''}. "
            "Take those it was trained with."
        )
    return weights


def _is_weight(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)
