"""metaloop-resume: go on where a run stopped, and further or otherwise if asked."""

import argparse
from collections.abc import Mapping

from omegaconf import OmegaConf

from metaloop.cli.execute import Work, be_no_rank, become_worker, by_hand, find_own_classes
from metaloop.cli.help import version_text
from metaloop.cli.mistakes import fail
from metaloop.cli.overrides import folder_named, parse
from metaloop.errors import UserError, nearest
from metaloop.folders.run_folder import RunFolder
from metaloop.process.fast_import import fast_imports
from metaloop.process.machine_error import in_words
from metaloop.process.terminal import survive_lost_output
from metaloop.run.config.read import load_config, plain
from metaloop.run.config.write import rewrite_run
from metaloop.user_text import say

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
    survive_lost_output()
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
    parser.add_argument("--version", action="version", version=version_text())
    parser.add_argument("--accept-changes", action="store_true", help=ACCEPT)
    arguments = parser.parse_intermixed_args()
    find_own_classes()
    be_no_rank()
    try:
        given = [arguments.folder, *arguments.changes]
        named = next((a for a in given if a.startswith("run=")), given[0])
        folder = RunFolder.open(folder_named(named))
        given.remove(named)
        # one lock from reading what to go on from to the end of the work
        with in_words(folder.path), folder.lock():
            work = _resume(folder, given, accepted=arguments.accept_changes)
            if work is not None:
                become_worker(work)
    except UserError as error:
        fail(error)


def _resume(folder: RunFolder, overrides: list[str], *, accepted: bool) -> Work | None:
    with fast_imports():  # here: --help needs no torch
        from metaloop.run.checkpoints.origin import (
            accepted_at,
            as_overrides,
            changes_between,
            explain_changes,
            refused,
            require_same_kind,
            saved_config,
        )
        from metaloop.run.checkpoints.weights import peek_resumable
        from metaloop.run.config.misfits import build_and_try
        from metaloop.run.config.run_config import RunConfig

    before = load_config(folder)
    if before["command"] != "train":
        raise UserError(
            f"{folder.path} is an evaluation or adaptation. Resume the run that it belongs to."
        )
    pieces = build_and_try(RunConfig.of(changed(before, overrides)))
    config = pieces.whole_config()
    config.device.require()
    found = peek_resumable(folder)
    step, changes = 0, {}
    if found is not None:
        require_same_kind(found.content, found.path, config.content)
        step = found.content["global_step"]
        changes = changes_between(saved_config(found.content), config.content)
    _refuse_shorter(config.training.max_steps, step)
    unaccepted = refused(folder, changes)
    if unaccepted and not accepted:
        raise UserError(explain_changes(folder, unaccepted, overrides))
    if overrides or unaccepted:
        given = as_overrides(unaccepted, beside=overrides)
        rewrite_run(folder, config.content, given, accepted_at(folder, step, changes))
    work = Work(folder, config.device, pieces)
    if config.device.nodes > 1:
        say(f"Ready is {folder.path}. To go on{by_hand(work)}")
        return None
    return work


def changed(config: Mapping[str, object], overrides: list[str]) -> dict[str, object]:
    """Change single keys of a config.

    Raises:
        UserError: no key=value, or a key that the config has not.

    """
    merged = OmegaConf.create(dict(config))
    for override in overrides:
        parsed = parse(override)
        key = override.partition("=")[0]
        if key != parsed.key_or_group or parsed.is_delete() or parsed.is_sweep_override():
            raise UserError(f"{override} changes nothing: write KEY=VALUE, with one value.")
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
        OmegaConf.update(merged, key, parsed.value())
    return plain(merged, resolve=False)


def _refuse_shorter(wanted: int, taken: int) -> None:
    if wanted < taken:
        raise UserError(
            f"training.max_steps={wanted} is less than the {taken} meta-steps that the run has "
            "taken. Steps once taken stay; name more."
        )
