"""metaloop-resume: go on where a run stopped, and further or otherwise if asked."""

import argparse
import sys
from typing import cast

from omegaconf import OmegaConf

from metaloop.cli.execute import Work, be_no_rank, become_worker, by_hand, find_own_classes
from metaloop.errors import UserError, nearest
from metaloop.folders.run_folder import RunFolder
from metaloop.process.fast_import import fast_imports
from metaloop.process.full_disk import full_disk
from metaloop.run.config.write import rewrite_run
from metaloop.user_text import show_any_text

DESCRIPTION = """\
Go on where a run stopped, from its last whole checkpoint, to the same numbers as
if it had never stopped. A run that has completed is evaluated again, or trained
further with training.max_steps=MORE. Where it computes and logs may change too
(device.*, logger.*, task.data_dir=).

  metaloop-resume outputs/FOLDER
  metaloop-resume outputs/FOLDER training.max_steps=20000
"""
ACCEPT = """\
go on though the config differs from the one that the checkpoint was trained with.
What it costs: from this meta-step on it is another run, which no single config
reproduces; changes.json and overrides.yaml say so. A schedule becomes the new
config's as of now, moments of the optimizer stay where only numbers change, a
changed callback starts anew. Another model, algorithm or version never goes on.
"""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="metaloop-resume",
        description=DESCRIPTION,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "folder", metavar="FOLDER", help="the run folder that metaloop-train printed"
    )
    parser.add_argument(
        "changes", metavar="KEY=VALUE", nargs="*", help="what of the run's config changes"
    )
    parser.add_argument("--accept-changes", action="store_true", help=ACCEPT)
    arguments = parser.parse_intermixed_args()
    show_any_text()
    find_own_classes()
    be_no_rank()
    try:
        work = _resume(
            RunFolder.open(arguments.folder), arguments.changes, accepted=arguments.accept_changes
        )
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if (what := full_disk(error)) is None:
            raise
        print(f"Error: {what}. Make room, then enter the command again.", file=sys.stderr)
        sys.exit(1)
    if work is not None:
        become_worker(work)


def _resume(folder: RunFolder, overrides: list[str], *, accepted: bool) -> Work | None:
    with fast_imports():  # here: --help needs no torch
        from metaloop.run.checkpoints.origin import (
            accept,
            as_overrides,
            changes_between,
            explain_changes,
            refused,
            require_same_kind,
            saved_config,
        )
        from metaloop.run.checkpoints.weights import peek_resumable
        from metaloop.run.config.build import build
        from metaloop.run.config.read import load_config

    before = load_config(folder)
    if before["command"] != "train":
        raise UserError(
            f"{folder.path} is an evaluation or adaptation. Resume the run that it belongs to."
        )
    config = changed(before, overrides)
    device = build(config).device
    device.require()
    _refuse_shorter(before, config)
    found = peek_resumable(folder)
    if found is not None:
        require_same_kind(found.content, found.path, config)
    trained = before if found is None else saved_config(found.content)
    changes = refused(folder, changes_between(trained, config))
    if changes and not accepted:
        raise UserError(explain_changes(folder, changes, overrides))
    if overrides or changes:
        with folder.lock():
            if changes and found is not None:
                accept(folder, changes, found.content["global_step"])
            rewrite_run(folder, config, as_overrides(changes, beside=overrides))
    work = Work(folder, device.processes_here())
    if device.nodes > 1:
        print(f"Ready is {folder.path}. To go on{by_hand(work)}")
        return None
    return work


def changed(config: dict[str, object], overrides: list[str]) -> dict[str, object]:
    """Change single keys of a config.

    Raises:
        UserError: no key=value, or a key that the config has not.

    """
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals:
            raise UserError(f"{override} changes nothing: write KEY=VALUE.")
        known: object = config
        for part in key.split("."):
            if not isinstance(known, dict) or part not in known:
                keys = list(known) if isinstance(known, dict) else []
                raise UserError(
                    f"{key} is unknown in this run's config. {nearest(part, keys)}"
                    f"Keys here: {', '.join(keys) or 'none'}."
                )
            known = known[part]
        if isinstance(known, dict) and known and override != f"{key}=null":
            raise UserError(
                f"{override} chooses anew, and choices are fixed by the run here. Change single "
                f"keys ({key}.{next(iter(known))}=..), or train a run with the other choice."
            )
    merged = OmegaConf.merge(OmegaConf.create(config), OmegaConf.from_dotlist(overrides))
    return cast(dict[str, object], OmegaConf.to_container(merged))


def _refuse_shorter(before: dict[str, object], after: dict[str, object]) -> None:
    had, wanted = (
        cast(dict[str, dict[str, int]], config)["training"]["max_steps"]
        for config in (before, after)
    )
    if wanted < had:
        raise UserError(
            f"training.max_steps={wanted} is shorter than the run's {had}. Steps once taken stay; "
            "name more."
        )
