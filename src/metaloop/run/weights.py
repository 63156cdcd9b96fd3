"""Checkpoints and state dicts: finding, reading and loading them, or saying why not."""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from metaloop.errors import UserError
from metaloop.run_folder import RunFolder

Checkpoint = dict[str, object]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint or state dict without executing anything in it.

    Raises:
        UserError: it is missing, torn, or no such file.

    """
    try:
        return cast(Checkpoint, torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError:
        raise UserError(f"There is no checkpoint {path}.") from None
    except Exception as error:  # a torn file fails in whatever way its bytes happen to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"The checkpoint {path} cannot be read: {reason}") from error


def find_resumable(folder: RunFolder) -> Path | None:
    """The newest whole checkpoint to resume from; None where the run has saved none.

    A damaged last.ckpt is set aside, with a message, for the one before it.

    Raises:
        UserError: there are checkpoints, and none is whole.

    """
    candidates = [p for p in (folder.last_checkpoint, folder.previous_checkpoint) if p.exists()]
    for path in candidates:
        try:
            read_checkpoint(path)
        except UserError as error:
            aside = path.with_suffix(".damaged")
            path.replace(aside)
            print(f"{error}\nIt is set aside as {aside.name}.", flush=True)
        else:
            if path == folder.previous_checkpoint:
                print(f"Falling back to the checkpoint before it, {path}.", flush=True)
            return path
    if candidates:
        raise UserError(f"No checkpoint in {folder.checkpoints} can be read. Start a new run.")
    return None


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
        f"{folder.path} has no checkpoint yet. Train it first: metaloop-resume {folder.path}"
    )


def load_weights(module: nn.Module, path: Path) -> Checkpoint:
    """Load a module's weights from a checkpoint or a plain state dict; return what was read.

    For a MetaLearner those are the model's and the algorithm's own. A plain state dict, or a
    checkpoint loaded into a bare model, is the model's alone.

    Raises:
        UserError: the file does not fit the module, naming the parameters that do not.

    """
    checkpoint = read_checkpoint(path)
    stored = checkpoint.get("state_dict", checkpoint)
    assert isinstance(stored, dict)
    expected = module.state_dict()
    weights: dict[str, Tensor] = stored
    if not any(name.startswith("model.") for name in expected):
        weights = {
            n.removeprefix("model."): t for n, t in stored.items() if not n.startswith("own.")
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
    module.load_state_dict(weights)
    return checkpoint


def find_initial_weights(init_from: str) -> Path:
    """The file that `init_from` names: a run folder's best checkpoint, or the file itself."""
    path = Path(init_from).expanduser()
    if path.is_dir():
        return find_weights(RunFolder.open(path), "best")
    if not path.is_file():
        raise UserError(
            f"init_from={init_from} is neither a run folder nor a file with a state dict."
        )
    return path
