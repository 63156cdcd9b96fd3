"""Write what is to be executed into a folder. Imports no torch: commands stay quick."""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from omegaconf import OmegaConf

from metaloop.errors import UserError
from metaloop.folders.atomic_write import write_text
from metaloop.folders.run_folder import RunFolder

# seconds that the worker of a sweep that was killed may still need to save and end
SAVING = 60.0


def write_run(
    config: Mapping[str, object], overrides: Sequence[str], root: str | Path, name: str
) -> RunFolder:
    """Make a run folder root/<date_time>_<name> with its config and overrides."""
    try:
        folder = RunFolder.create(root, f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{name}")
        _write(folder, config, overrides)
    except OSError as error:
        raise UserError(f"No run folder can be made in output_dir={root}: {error}") from error
    return folder


def write_evaluation(
    run: RunFolder, name: str, config: Mapping[str, object], overrides: Sequence[str]
) -> RunFolder:
    """Make, or write anew, the folder of one of a run's evaluations."""
    folder = RunFolder(run.evaluations / name)
    folder.path.mkdir(parents=True, exist_ok=True)
    _write(folder, {**config, "command": "evaluate", "run": _way(run, folder)}, overrides)
    return folder


def write_adaptation(
    run: RunFolder,
    name: str,
    config: Mapping[str, object],
    overrides: Sequence[str],
    *,
    replaces: bool,
) -> RunFolder:
    """Make the folder of one of a run's adaptations: write it anew, or name-2, name-3 .."""
    if replaces:
        folder = RunFolder(run.adaptations / name)
        folder.path.mkdir(parents=True, exist_ok=True)
    else:
        folder = RunFolder.create(run.adaptations, name)
    _write(folder, {**config, "command": "adapt", "run": _way(run, folder)}, overrides)
    return folder


def rewrite_run(run: RunFolder, config: Mapping[str, object], overrides: Sequence[str]) -> None:
    """Replace a run's config, adding the overrides that changed it."""
    _write(run, config, [*read_overrides(run), *overrides])


def rewrite_job(job: RunFolder, config: Mapping[str, object], overrides: Sequence[str]) -> None:
    """Write the run of a sweep's job: new, or again, then as the same run for W&B."""
    job.path.mkdir(parents=True, exist_ok=True)
    with job.lock(wait=SAVING):
        if job.config.is_file():
            run_id = OmegaConf.select(OmegaConf.load(job.config), "run_id")
            config = {**config, "run_id": run_id}
        _write(job, config, overrides)


def write_config(folder: RunFolder, config: Mapping[str, object]) -> None:
    """Write a folder's config alone."""
    write_text(folder.config, OmegaConf.to_yaml(dict(config)))


def read_overrides(folder: RunFolder) -> list[str]:
    """Read what the user changed."""
    return [str(line) for line in OmegaConf.load(folder.overrides)]


def _way(run: RunFolder, folder: RunFolder) -> str:
    """From a folder to its run: both may move together."""
    return os.path.relpath(run.path, folder.path)


def _write(folder: RunFolder, config: Mapping[str, object], overrides: Sequence[str]) -> None:
    write_text(folder.overrides, OmegaConf.to_yaml(list(overrides)))
    write_config(folder, config)
    folder.write_status("composed")
