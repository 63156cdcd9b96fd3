"""What a checkpoint is of: the config, the versions and the layout that it was saved under."""

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from metaloop.callbacks.checkpoint_io import ORIGIN
from metaloop.callbacks.kept_weights import BESIDE
from metaloop.callbacks.resume_checkpoint import STOPPED
from metaloop.errors import UserError
from metaloop.folders.changes import Accepted
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.identity import differences
from metaloop.run.config.keys import EFFECTS, leaves
from metaloop.run.config.read import FORMAT
from metaloop.run.config.run_config import RunConfig
from metaloop.user_text import for_shell

Config = Mapping[str, object]
Checkpoint = Mapping[str, Any]
Changes = dict[str, tuple[object, object]]
MAX_STEPS = "training.max_steps"
# what a checkpoint to resume from holds
TO_RESUME: Mapping[str, type] = {
    "global_step": int,
    "state_dict": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "callbacks": dict,
    "loops": dict,
    STOPPED: bool,
    BESIDE: dict,
}
# keys that change the last bits of a number, or more of it, and not which run it is
INEXACT = [key for key, effect in EFFECTS.items() if effect.changes in ("precision", "last_bits")]


def origin(config: RunConfig) -> dict[str, object]:
    """Tell where a checkpoint of this run comes from, in plain containers."""
    return {
        "format": FORMAT,
        "config": dict(config.content),
        "versions": {name: version(name) for name in ("metaloop", "torch")},
        "layout": {"processes": config.device.processes(), "threads": torch.get_num_threads()},
    }


def require_same_kind(checkpoint: Checkpoint, path: Path, config: Config) -> None:
    """Refuse a checkpoint of another format, model or algorithm than this run's, by name.

    Raises:
        UserError: it is, or it does not say what it is of.

    """
    if not _says_origin(checkpoint):
        raise UserError(
            f"{path} does not say which config it is of: it is no checkpoint of a run, or an older "
            f"metaloop's. Start a new run from its weights: init_from={path}"
        )
    if (saved := checkpoint[ORIGIN].get("format")) != FORMAT:
        by = checkpoint[ORIGIN]["versions"].get("metaloop")
        raise UserError(
            f"{path} was saved by metaloop {by} in format {saved or 0}, and metaloop "
            f"{version('metaloop')} reads format {FORMAT}. Install metaloop=={by} to go on, or "
            f"start a new run from its weights: init_from={path}"
        )
    if lacking := [k for k, kind in TO_RESUME.items() if not isinstance(checkpoint.get(k), kind)]:
        raise UserError(
            f"{path} has no {lacking[0]}: it is no checkpoint to resume from. Start a new run from "
            f"its weights: init_from={path}"
        )
    changes = differences(saved_config(checkpoint), config)
    for kind, is_of in (("model", _is_of_model), ("algorithm", _is_of_algorithm)):
        if others := {key: values for key, values in changes.items() if is_of(key, values)}:
            raise UserError(
                f"{path} is of another {kind} than the config says, before -> after:\n"
                f"{table(others)}\nSet it back, or start a new run with the other {kind}."
            )


def _says_origin(checkpoint: Checkpoint) -> bool:
    its_origin = checkpoint.get(ORIGIN)
    parts = ("config", "versions", "layout")
    return isinstance(its_origin, dict) and all(isinstance(its_origin.get(p), dict) for p in parts)


def saved_config(checkpoint: Checkpoint) -> Config:
    """The config that a checkpoint was trained with."""
    config: Config = checkpoint[ORIGIN]["config"]
    return config


def changes_between(before: Config, after: Config) -> Changes:
    """What has changed from one config of a run to a later one; `max_steps` may grow."""
    changes = differences(before, after)
    old, new = changes.get(MAX_STEPS, (0, 0))
    if isinstance(old, int) and isinstance(new, int) and new > old:
        del changes[MAX_STEPS]
    return changes


def table(changes: Changes) -> str:
    """A line for each change: key: before -> after."""
    return "\n".join(f"  {key}: {_told(a)} -> {_told(b)}" for key, (a, b) in changes.items())


def explain_changes(folder: RunFolder, changes: Changes, overrides: Sequence[str] = ()) -> str:
    """What to say of changes that nobody has accepted, `overrides` those that a command asked."""
    command = for_shell("metaloop-resume", folder.path, *overrides, "--accept-changes")
    return (
        f"The config is not the one that {folder.path} was trained with, before -> after:\n"
        f"{table(changes)}\nA run that changes is no longer the one it was. To go on with the "
        f"change from its checkpoint on:\n  {command}\n"
        f"For a run of its own start a new one, with init_from={folder.path}."
    )


def as_overrides(changes: Changes, beside: Sequence[str]) -> list[str]:
    """Say changes as arguments of a command, after those that say some of them already."""
    given = {override.partition("=")[0] for override in beside}
    own = [
        f"~{key}" if after is None else f"{key}={_argument(after)}"
        for key, (_, after) in changes.items()
        if key not in given
    ]
    return [*beside, *own]


def refused(folder: RunFolder, changes: Changes) -> Changes:
    """Those changes that the user has not accepted."""
    known = [change for entry in folder.read_accepted() for change in entry.changes.items()]
    return {key: values for key, values in changes.items() if (key, values) not in known}


def accepted_at(folder: RunFolder, meta_step: int, changes: Changes) -> list[Accepted]:
    """All that was accepted, where a run goes on at this meta-step with these changes.

    What had been accepted for later steps, or for this one, has changed nothing that stays.
    """
    before = [entry for entry in folder.read_accepted() if entry.meta_step < meta_step]
    return [*before, Accepted(meta_step, changes)] if changes else before


def inexact_because(checkpoint: Checkpoint, config: RunConfig) -> str | None:
    """Name what makes a resumed run differ in its last bits from the one never stopped."""
    was, now = _layout(checkpoint[ORIGIN]), _layout(origin(config))
    changed = [f"{k} {_told(was[k])} -> {_told(now[k])}" for k in was if was[k] != now[k]]
    return ", ".join(changed) if changed else None


def _layout(its_origin: Checkpoint) -> dict[str, object]:
    """Settings that affect bitwise reproducibility; older runs lack newer keys."""
    values = dict(leaves(its_origin["config"]))
    known = {key: values.get(key) for key in INEXACT}
    return {**known, **its_origin["layout"], **its_origin["versions"]}


def _is_of_model(key: str, values: tuple[object, object]) -> bool:  # noqa: ARG001 - as the other
    return key.partition(".")[0] in ("model", "part")


def _is_of_algorithm(key: str, values: tuple[object, object]) -> bool:
    """Which class or recipe it is, and of what pieces; its numbers may change."""
    before, after = (list(_targets({key.rpartition(".")[2]: value})) for value in values)
    return key.startswith("algorithm.") and before != after


def _targets(value: object) -> Iterator[object]:
    """Every `_target_` in a value of a config."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "_target_":
                yield inner
            yield from _targets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _targets(inner)


def _argument(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _told(value: object) -> str:
    return "absent" if value is None else str(value)
