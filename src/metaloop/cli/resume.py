"""metaloop-resume: go on where a run stopped, and further if asked."""

import argparse
import sys
from typing import cast

from omegaconf import OmegaConf

from metaloop.cli.execute import become_worker, find_own_classes
from metaloop.errors import UserError
from metaloop.run.write import rewrite_run
from metaloop.run_folder import RunFolder

LONGER = "training.max_steps="

DESCRIPTION = """\
Go on where a run stopped, from its last whole checkpoint, to the same numbers as
if it had never stopped. A run that has completed is evaluated again, or trained
further with training.max_steps=MORE.

  metaloop-resume outputs/FOLDER
  metaloop-resume outputs/FOLDER training.max_steps=20000
"""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="metaloop-resume",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", metavar="FOLDER", help="the run folder that metaloop-train printed"
    )
    parser.add_argument(
        "changes", metavar=f"{LONGER}N", nargs="*", default=[], help="train up to this meta-step"
    )
    arguments = parser.parse_args()
    find_own_classes()
    try:
        _resume(RunFolder.open(arguments.folder), arguments.changes)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)


def _resume(folder: RunFolder, changes: list[str]) -> None:
    for change in changes:
        if not change.startswith(LONGER):
            raise UserError(
                f"{change} cannot change on resuming: the run would no longer be the one it was. "
                f"Only {LONGER}N can; for the rest start a new run, with init_from={folder.path}."
            )
    from metaloop.run.build import build, load_config

    config = load_config(folder)
    if config["command"] != "train":
        raise UserError(
            f"{folder.path} is an evaluation or adaptation. Resume the run that it belongs to."
        )
    before = cast(dict[str, dict[str, int]], config)["training"]["max_steps"]
    merged = OmegaConf.merge(OmegaConf.create(config), OmegaConf.from_dotlist(changes))
    config = cast(dict[str, object], OmegaConf.to_container(merged))
    device = build(config).device
    device.require()
    after = cast(dict[str, dict[str, int]], config)["training"]["max_steps"]
    if after < before:
        raise UserError(
            f"{LONGER}{after} is shorter than the run's {before}. Steps once taken stay; name more."
        )
    if changes:
        with folder.lock():
            rewrite_run(folder, config, changes)
    become_worker(folder, device.processes_here())
