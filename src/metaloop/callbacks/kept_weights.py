"""Keep the weights of validations consistent with the checkpoints to resume from."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

# The checkpoint's key for the weights next to it: their files and meta-steps.
KEPT_WEIGHTS = "weights_beside"
TO_RESUME_FROM = ("last.ckpt", "previous.ckpt", "new.ckpt")


class KeptWeights:
    """best.ckpt, ensemble/ and other weights that callbacks save in a run's checkpoints/.

    A checkpoint to resume from lists the weights next to it. If a file that last.ckpt lists is
    replaced or removed, a copy stays in superseded/ until previous.ckpt is gone too. So a run that
    resumes from an older checkpoint finds the best weights of its past, and none from a discarded
    future.

    Args:
        folder: checkpoints/ of the run.

    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._named: Mapping[str, int] = {}  # listed by last.ckpt

    def list_weights(self) -> dict[str, int]:
        """List the current weights: the meta-step of each file."""
        found = {name: meta_step_of(path) for name, path in self._files()}
        return {name: step for name, step in found.items() if step is not None}

    def keep(self, path: Path) -> None:
        """Keep a file that is about to be replaced or removed, if last.ckpt lists it."""
        name = path.relative_to(self.folder).as_posix() if self._holds(path) else ""
        step = self._named.get(name)
        if step is None or meta_step_of(path) != step:
            return
        target = self._superseded(name, step)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            shutil.copyfile(path, target)

    def commit(self, listed: Mapping[str, int]) -> None:
        """Note the weights listed by the new last.ckpt; delete what only an older one needed."""
        needed = {self._superseded(*named) for of in (self._named, listed) for named in of.items()}
        for path in self.folder.glob("superseded/**/*.ckpt"):
            if path not in needed:
                path.unlink()
        self._named = listed

    def restore(self, listed: Mapping[str, int], meta_step: int) -> None:
        """Restore the folder to the state that the checkpoint of this meta-step lists.

        Weights of later steps are moved to abandoned/. If nothing changes, the run makes them
        again.
        """
        for name, path in list(self._files()):
            step = meta_step_of(path)
            if step is not None and step != listed.get(name, min(step, meta_step)):
                target = self.folder / "abandoned" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
        for name, step in listed.items():
            kept = self._superseded(name, step)
            if kept.exists() and not (self.folder / name).exists():
                kept.replace(self.folder / name)
        self._named = listed

    def _files(self) -> Iterator[tuple[str, Path]]:
        for path in sorted(self.folder.rglob("*.ckpt")):
            name = path.relative_to(self.folder).as_posix()
            is_aside = name.startswith(("superseded/", "abandoned/"))
            if name not in TO_RESUME_FROM and not is_aside:
                yield name, path

    def _holds(self, path: Path) -> bool:
        return path.is_relative_to(self.folder) and path.is_file()

    def _superseded(self, name: str, step: int) -> Path:
        return self.folder / "superseded" / str(step) / name


def meta_step_of(path: Path) -> int | None:
    """Read the meta-step of a file's weights without its tensors; None if it has none."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        step = content["global_step"]
    except Exception:  # a torn file, or not a checkpoint
        return None
    return step if isinstance(step, int) else None
