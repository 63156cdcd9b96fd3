"""The origin of a checkpoint: the config, versions and layout that it was saved under."""

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from metaloop.callbacks.checkpoint_io import ORIGIN
from metaloop.callbacks.kept_weights import KEPT_WEIGHTS
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
# content of a checkpoint to resume from
TO_RESUME: Mapping[str, type] = {
    "global_step": int,
    "state_dict": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "callbacks": dict,
    "loops": dict,
    STOPPED: bool,
    KEPT_WEIGHTS: dict,
}
# keys outside of the identity that change the last bits of results, or more
INEXACT = [key for key, effect in EFFECTS.items() if effect.changes in ("precision", "last_bits")]


def describe_origin(config: RunConfig) -> dict[str, object]:
    """Describe the origin of this run's checkpoints, in plain containers."""
    return {
        "format": FORMAT,
        "config": dict(config.content),
        "versions": {name: version(name) for name in ("metaloop", "torch")},
        "layout": {"processes": config.device.processes(), "threads": torch.get_num_threads()},
    }


def require_same_kind(checkpoint: Checkpoint, path: Path, config: Config) -> None:
    """Refuse a checkpoint of another format, model or algorithm than this run's.

    Raises:
        UserError: if it is another one, or its origin is unknown.

    """
    if not _has_origin(checkpoint):
        raise UserError(
            f"{path} contains no config: it is not a checkpoint of a run, or is from an older "
            f"metaloop. Start a new run from its weights: init_from={path}"
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
            f"{path} has no {lacking[0]}, so a run cannot resume from it. Start a new run from "
            f"its weights: init_from={path}"
        )
    changes = differences(saved_config(checkpoint), config)
    for kind, is_of in (("model", _is_of_model), ("algorithm", _is_of_algorithm)):
        if others := {key: values for key, values in changes.items() if is_of(key, values)}:
            raise UserError(
                f"{path} has another {kind} than the config, before -> after:\n"
                f"{table(others)}\nSet it back, or start a new run with the other {kind}."
            )


def _has_origin(checkpoint: Checkpoint) -> bool:
    its_origin = checkpoint.get(ORIGIN)
    parts = ("config", "versions", "layout")
    return isinstance(its_origin, dict) and all(isinstance(its_origin.get(p), dict) for p in parts)


def saved_config(checkpoint: Checkpoint) -> Config:
    """Return the config that a checkpoint was trained with."""
    config: Config = checkpoint[ORIGIN]["config"]
    return config


def changes_between(before: Config, after: Config) -> Changes:
    """Return the changes from a config of a run to a later one, except a larger `max_steps`."""
    changes = differences(before, after)
    old, new = changes.get(MAX_STEPS, (0, 0))
    if isinstance(old, int) and isinstance(new, int) and new > old:
        del changes[MAX_STEPS]
    return changes


def table(changes: Changes) -> str:
    """Write one line per change: key: before -> after."""
    return "\n".join(f"  {key}: {_shown(a)} -> {_shown(b)}" for key, (a, b) in changes.items())


def explain_changes(folder: RunFolder, changes: Changes, overrides: Sequence[str] = ()) -> str:
    """Explain changes that are not accepted; `overrides` are those given in the command."""
    command = for_shell("metaloop-resume", folder.path, *overrides, "--accept-changes")
    return (
        f"The config differs from the one that {folder.path} was trained with, before -> after:\n"
        f"{table(changes)}\nA changed run is no longer the same run. To continue with the change "
        f"from its checkpoint on:\n  {command}\n"
        f"To keep this run unchanged, start a new one with init_from={folder.path}."
    )


def as_overrides(changes: Changes, given: Sequence[str]) -> list[str]:
    """Write changes as arguments of a command, after the given ones, which may contain some."""
    keys = {override.partition("=")[0] for override in given}
    own = [
        f"~{key}" if after is None else f"{key}={_argument(after)}"
        for key, (_, after) in changes.items()
        if key not in keys
    ]
    return [*given, *own]


def find_unaccepted(folder: RunFolder, changes: Changes) -> Changes:
    """Return the changes that the user has not accepted."""
    known = [change for entry in folder.read_accepted() for change in entry.changes.items()]
    return {key: values for key, values in changes.items() if (key, values) not in known}


def accepted_at(folder: RunFolder, meta_step: int, changes: Changes) -> list[Accepted]:
    """Return all accepted changes of a run that continues at this meta-step with these changes.

    Changes accepted at this step or later are dropped, since their steps are discarded.
    """
    before = [entry for entry in folder.read_accepted() if entry.meta_step < meta_step]
    return [*before, Accepted(meta_step, changes)] if changes else before


def inexact_because(checkpoint: Checkpoint, config: RunConfig) -> str | None:
    """Name the settings that make results differ in their last bits from an uninterrupted run."""
    was, now = _layout(checkpoint[ORIGIN]), _layout(describe_origin(config))
    changed = [f"{k} {_shown(was[k])} -> {_shown(now[k])}" for k in was if was[k] != now[k]]
    return ", ".join(changed) if changed else None


def _layout(its_origin: Checkpoint) -> dict[str, object]:
    """Settings that affect bitwise reproducibility; older runs lack newer keys."""
    values = dict(leaves(its_origin["config"]))
    known = {key: values.get(key) for key in INEXACT}
    return {**known, **its_origin["layout"], **its_origin["versions"]}


def _is_of_model(key: str, values: tuple[object, object]) -> bool:  # noqa: ARG001 - as the other
    return key.partition(".")[0] in ("model", "part")


def _is_of_algorithm(key: str, values: tuple[object, object]) -> bool:
    """Check for another class or recipe, or other pieces of it; its numbers may change."""
    before, after = (list(_targets({key.rpartition(".")[2]: value})) for value in values)
    return key.startswith("algorithm.") and before != after


def _targets(value: object) -> Iterator[object]:
    """Yield every `_target_` in a value of a config."""
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


def _shown(value: object) -> str:
    return "absent" if value is None else str(value)
