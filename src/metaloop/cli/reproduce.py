"""metaloop-reproduce: run whole presets and compare their values with the published ones."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from metaloop.cli.configs import CONF, choices, find_choice, look_first_in
from metaloop.cli.execute import be_no_rank, find_own_classes
from metaloop.cli.help import version_text
from metaloop.cli.mistakes import fail
from metaloop.errors import UserError, nearest
from metaloop.folders.user_path import user_path
from metaloop.process.fast_import import fast_imports
from metaloop.process.machine_error import in_words
from metaloop.process.terminal import survive_lost_output
from metaloop.run.config.identity import is_elsewhere
from metaloop.user_text import say

if TYPE_CHECKING:
    from metaloop.run.board.board import Board
    from metaloop.run.board.row import Row
    from metaloop.run.config.published import Published

DESCRIPTION = """\
Run whole presets with several seeds, evaluate them as their papers did, and write
the board: every published value, ours, and whether they agree.

  metaloop-reproduce                                  list the published values
  metaloop-reproduce finn2017/sinusoid --seeds 3      run one, with seeds 0, 1, 2
  metaloop-reproduce finn2017/sinusoid --seeds 3 --hours 2
                                                      for two hours; repeat to continue
  metaloop-reproduce PRESET device.compile=true task.data_dir=DATA
  metaloop-reproduce --check                          check the board against its records

The same command continues interrupted runs from their checkpoints, and keeps
completed ones. Runs and checkpoints are in $METALOOP_BOARD
(~/.cache/metaloop/board); the board's small records are next to board.md and
board.json in the folder of --board.
"""


def main() -> None:
    """Run the command."""
    survive_lost_output()
    arguments = _parser().parse_intermixed_args()
    find_own_classes()
    be_no_rank()
    look_first_in([Path(folder).resolve() for folder in arguments.config_dir])
    try:
        place = _place(arguments.board)
        with in_words(place):
            status = _answer(arguments, place)
    except UserError as error:
        fail(error)
    if status:
        sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="metaloop-reproduce",
        description=DESCRIPTION,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "named",
        metavar="PRESET",
        nargs="*",
        help="presets, and changes to device and data\n(device.*, task.data_dir)",
    )
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="run seeds 0..N-1; default: 1"
    )
    parser.add_argument(
        "--hours", type=float, help="stop after this time; the same command continues"
    )
    parser.add_argument("--list", action="store_true", help="only list the published values")
    parser.add_argument("--write", action="store_true", help="write the board from its records")
    parser.add_argument(
        "--check", action="store_true", help="refuse a board that differs from its records"
    )
    parser.add_argument(
        "--board",
        metavar="FOLDER",
        help="default: benchmarks/board in a checkout,\noutputs/board elsewhere",
    )
    parser.add_argument(
        "--config-dir",
        action="append",
        default=[],
        metavar="DIR",
        help="a folder with presets of your own",
    )
    parser.add_argument("--version", action="version", version=version_text())
    return parser


def _place(named: str | None) -> Path:
    """Return the folder of the board."""
    checkout = CONF.parent / "benchmarks" / "board"
    return user_path(named) if named else checkout if checkout.is_dir() else Path("outputs/board")


def _answer(arguments: argparse.Namespace, place: Path) -> int:
    presets = [name for name in arguments.named if "=" not in name]
    changes = [name for name in arguments.named if "=" in name]
    published = {
        name: values for name in choices("experiment") if (values := _read_published(name))
    }
    for name in presets:
        if name not in published:
            raise UserError(
                f"{name} is not a preset with published values. {nearest(name, published)}"
                "metaloop-reproduce --list shows them all."
            )
    for change in changes:
        if not is_elsewhere(change.partition("=")[0]):
            raise UserError(
                f"{change} would make it another run than the preset's. Change only device, "
                "loggers and the location of the data (device.*, logger.*, task.data_dir)."
            )
    if arguments.seeds < 1:
        raise UserError(f"--seeds {arguments.seeds} runs nothing: name at least 1.")
    with fast_imports():  # not at the top: --help needs no torch
        from metaloop.run.board.board import Board
    board = Board(place, published)
    if arguments.check:
        _check(board)
        say(f"{place / 'board.md'} agrees with its records.")
    elif arguments.write:
        board.write()
        say(f"Board: {place / 'board.md'}")
    elif arguments.list or not presets:
        _list(board.rows())
    else:
        return _run(board, presets, range(arguments.seeds), changes, arguments.hours)
    return 0


def _check(board: "Board") -> None:
    """Refuse a board that differs from its records, or a record that differs from its preset."""
    with fast_imports():
        from metaloop.cli.preset_run import compose_preset
        from metaloop.run.board.board import require_same_preset

    board.check()
    for preset in board.published:
        for seed, record in board.records(preset).items():
            now = compose_preset(preset, seed, (), board.place).config.content
            require_same_preset(record, now, preset)


def _read_published(preset: str) -> Sequence["Published"]:
    """Read the published values in a preset's own file."""
    values: Sequence[Published] = yaml.safe_load(
        find_choice("experiment", preset).read_text("utf-8")
    ).get("published", [])
    return values


def _list(rows: Sequence["Row"]) -> None:
    """Print one line per published value, in columns."""
    lines = []
    for row in rows:
        published = row["published"]
        width = "" if published["ci95"] is None else f" +/- {published['ci95']}"
        value = f"{row['metric']} after {row['inner_step']}"
        lines.append((row["preset"], value, f"{published['mean']}{width}", row["verdict"]))
    widths = [max(len(str(cell)) for cell in column) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        say("  ".join(padded).rstrip())


def _run(
    board: "Board",
    presets: Sequence[str],
    seeds: Sequence[int],
    changes: Sequence[str],
    hours: float | None,
) -> int:
    """Advance the runs as far as the time allows, record them, and write the board."""
    with fast_imports():
        from metaloop.cli.preset_run import TimeLimit, advance, compose_preset
        from metaloop.run.board.record import write_record

    home = user_path(os.environ.get("METALOOP_BOARD") or "~/.cache/metaloop/board")
    runs, failed = [compose_preset(p, s, changes, home) for p in presets for s in seeds], False
    with TimeLimit(hours) as limit:
        for run in runs:
            what = f"{run.preset}, seed {run.seed}"
            say(f"{what}: {run.folder.path}")
            try:
                is_done = advance(run, limit)
                say(f"{what}: {'done' if is_done else 'the same command continues from here'}")
            except UserError as error:
                failed = True
                say(f"{what}: {error}", is_error=True)
    for run in runs:  # at the end: a record modifies the working tree whose state runs record
        if run.folder.config.is_file():
            write_record(run.folder, board.record_of(run.preset, run.seed), run.evaluations())
    board.write()
    _list([row for row in board.rows() if row["preset"] in presets])
    say(f"Board: {board.place / 'board.md'}")
    return 1 if failed else 0
