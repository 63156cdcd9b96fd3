"""metaloop-resume: continue a stopped run, longer or with other values if asked."""

import argparse
from collections.abc import Mapping

from omegaconf import OmegaConf

from metaloop.cli.execute import (
    Work,
    be_no_rank,
    become_worker,
    explain_execution,
    find_own_classes,
)
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
Continue a stopped run from its last intact checkpoint, with the same results as
if it had never stopped. A completed run is evaluated again, or trained further
with training.max_steps=MORE. Device, loggers and the location of the data may
change too (device.*, logger.*, task.data_dir=).

  metaloop-resume outputs/FOLDER
  metaloop-resume outputs/FOLDER training.max_steps=20000
"""
ACCEPT = """\
continue although the config differs from the one the checkpoint was trained with.
From this meta-step on it is another run, which no single config reproduces;
changes.json and overrides.yaml record that. The schedule is the new config's from
here on, the optimizer keeps its moments if only numbers change, and a changed
callback starts anew. Another model, algorithm or format is always refused.
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
        "changes", metavar="KEY=VALUE", nargs="*", help="changes to the run's config"
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
        # one lock from reading the checkpoint to the end of the work
        with in_words(folder.path), folder.lock():
            work = _resume(folder, given, accepted=arguments.accept_changes)
            if work is not None:
                become_worker(work)
    except UserError as error:
        fail(error)


def _resume(folder: RunFolder, overrides: list[str], *, accepted: bool) -> Work | None:
    with fast_imports():  # not at the top: --help needs no torch
        from metaloop.run.checkpoints.origin import (
            accepted_at,
            as_overrides,
            changes_between,
            explain_changes,
            find_unaccepted,
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
    pieces = build_and_try(RunConfig.of(change_keys(before, overrides)))
    config = pieces.whole_config()
    config.device.require()
    found = peek_resumable(folder)
    step, changes = 0, {}
    if found is not None:
        require_same_kind(found.content, found.path, config.content)
        step = found.content["global_step"]
        changes = changes_between(saved_config(found.content), config.content)
    _refuse_shorter(config.training.max_steps, step)
    unaccepted = find_unaccepted(folder, changes)
    if unaccepted and not accepted:
        raise UserError(explain_changes(folder, unaccepted, overrides))
    if overrides or unaccepted:
        given = as_overrides(unaccepted, given=overrides)
        rewrite_run(folder, config.content, given, accepted_at(folder, step, changes))
    work = Work(folder, config.device, pieces)
    if config.device.nodes > 1:
        say(f"{folder.path} is ready. To continue{explain_execution(work)}")
        return None
    return work


def change_keys(config: Mapping[str, object], overrides: list[str]) -> dict[str, object]:
    """Change single keys of a config.

    Raises:
        UserError: if a change is not KEY=VALUE, or its key is not in the config.

    """
    merged = OmegaConf.create(dict(config))
    for override in overrides:
        parsed = parse(override)
        key = override.partition("=")[0]
        if key != parsed.key_or_group or parsed.is_delete() or parsed.is_sweep_override():
            raise UserError(f"{override} is not a change: write KEY=VALUE, with one value.")
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
                f"{override} makes another choice, and choices are fixed by the run. Change single "
                f"keys ({key}.{next(iter(known))}=..), or train a run with the other choice."
            )
        OmegaConf.update(merged, key, parsed.value())
    return plain(merged, resolve=False)


def _refuse_shorter(wanted: int, taken: int) -> None:
    if wanted < taken:
        raise UserError(
            f"training.max_steps={wanted} is less than the {taken} meta-steps that the run has "
            "taken, which cannot be undone. Name more."
        )
