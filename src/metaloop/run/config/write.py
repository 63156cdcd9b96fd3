"""Write the folder of a run, evaluation or adaptation.

Imports no torch, so that commands stay fast.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from omegaconf import OmegaConf

from metaloop.errors import UserError
from metaloop.folders.atomic_write import write_text
from metaloop.folders.changes import Accepted, Decided
from metaloop.folders.run_folder import RunFolder
from metaloop.process.machine_error import in_words
from metaloop.run.config.keys import key_of
from metaloop.run.config.read import load_config, read_overrides

# seconds that the worker of a killed sweep may still need to save and end
SAVING = 60.0


def write_run(
    config: Mapping[str, object], overrides: Sequence[str], root: str | Path, name: str
) -> RunFolder:
    """Make a run folder root/<date_time>_<name> with its config and overrides."""
    try:
        folder = RunFolder.create(root, f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{name}")
        folder.change(_to_decided(config, overrides))
    except OSError as error:
        raise UserError(f"No run folder can be made in output_dir={root}: {error}") from error
    return folder


def write_evaluation(
    run: RunFolder, name: str, config: Mapping[str, object], overrides: Sequence[str]
) -> RunFolder:
    """Make or rewrite the folder of an evaluation of a run, and lock it."""
    with in_words(run.path):
        folder = _existing_or_made(run.evaluations / name)
        return _write_locked(folder, run, {**config, "command": "evaluate"}, overrides)


def write_adaptation(
    run: RunFolder,
    name: str,
    config: Mapping[str, object],
    overrides: Sequence[str],
    *,
    replaces: bool,
) -> RunFolder:
    """Make the folder of an adaptation, replaced or as name-2, name-3 .., and lock it."""
    with in_words(run.path):
        if replaces:
            folder = _existing_or_made(run.adaptations / name)
        else:
            folder = RunFolder.create(run.adaptations, name)
        return _write_locked(folder, run, {**config, "command": "adapt"}, overrides)


def rewrite_run(
    run: RunFolder,
    config: Mapping[str, object],
    overrides: Sequence[str],
    accepted: Sequence[Accepted],
) -> None:
    """Replace a run's config, its overrides and the accepted changes."""
    by_key = {key_of(override): override for override in (*read_overrides(run), *overrides)}
    run.change(_to_decided(config, list(by_key.values())), accepted)


def rewrite_job(job: RunFolder, config: Mapping[str, object], overrides: Sequence[str]) -> None:
    """Write or rewrite the run folder of a sweep's job, with the same run at W&B."""
    with in_words(job.path.parent):
        job.path.mkdir(parents=True, exist_ok=True)
    with in_words(job.path), job.lock(wait=SAVING):
        if job.config.is_file():
            config = {**config, "run_id": load_config(job)["run_id"]}
        job.change(_to_decided(config, overrides))


def write_config(folder: RunFolder, config: Mapping[str, object]) -> None:
    """Write only a folder's config."""
    write_text(folder.config, OmegaConf.to_yaml(dict(config)))


def _existing_or_made(path: Path) -> RunFolder:
    folder = RunFolder(path)
    with suppress(FileExistsError):
        folder.make()
    return folder


def _write_locked(
    folder: RunFolder, run: RunFolder, config: Mapping[str, object], overrides: Sequence[str]
) -> RunFolder:
    folder.hold()
    folder.change(_to_decided({**config, "run": _relative_path(run, folder)}, overrides))
    return folder


def _relative_path(run: RunFolder, folder: RunFolder) -> str:
    """Return the path from a folder to its run, which stays valid if both move together."""
    return os.path.relpath(run.path, folder.path)


def _to_decided(config: Mapping[str, object], overrides: Sequence[str]) -> Decided:
    return Decided(OmegaConf.to_yaml(dict(config)), OmegaConf.to_yaml(list(overrides)))
