"""Write checkpoints safely to disk, with their origin."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from metaloop.callbacks.kept_weights import KeptWeights

# The checkpoint's key for its origin: config, versions, format.
ORIGIN = "origin"


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint next to its target, syncs, then renames: never a torn file.

    Lightning's version passes through a temporary folder, possibly on another file system.

    Args:
        origin: plain values that every checkpoint contains under `ORIGIN`.
        read: checkpoints that are already read and checked, by path; each is returned once
            instead of being read again.
        kept: notified before a file is replaced or removed.

    """

    def __init__(
        self,
        origin: Mapping[str, object] | None = None,
        read: Mapping[Path, dict[str, object]] | None = None,
        kept: KeptWeights | None = None,
    ) -> None:
        self.origin, self.read, self.kept = origin, dict(read or {}), kept

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: None = None
    ) -> None:
        assert storage_options is None
        if self.origin is not None:
            checkpoint = {**checkpoint, ORIGIN: self.origin}
        path = Path(path)
        # do not recreate a run folder that was moved away
        path.parent.mkdir(parents=self.kept is None, exist_ok=True)
        part = path.with_name(f".{path.name}.part")  # a fixed name: one worker per folder
        try:
            with part.open("wb") as file:
                _save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            if self.kept is not None:
                self.kept.keep(path)
            part.replace(path)
        except OSError as error:
            error.filename = error.filename or str(path)
            raise
        finally:
            part.unlink(missing_ok=True)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - Lightning's
        if (content := self.read.pop(Path(path), None)) is not None:
            return content
        return super().load_checkpoint(path, *args, **kwargs)

    def remove_checkpoint(self, path: str | Path) -> None:
        if self.kept is not None:
            self.kept.keep(Path(path))
        super().remove_checkpoint(path)


class _ErrorKeeper:
    """A file that keeps the error of a failed write."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.flush = file, file.flush
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise


def _save(checkpoint: Mapping[str, object], file: BinaryIO) -> None:
    """Save, raising the original OSError: torch's zip writer would replace it by its own error."""
    target = _ErrorKeeper(file)
    try:
        torch.save(checkpoint, target)  # type: ignore[arg-type]
    except RuntimeError as hiding:
        if target.error is None:
            raise
        raise target.error from hiding
