"""metaloop-report: one self-contained page of a run, an evaluation or a sweep."""

import argparse
from pathlib import Path

from metaloop.cli.help import version_text
from metaloop.cli.mistakes import fail
from metaloop.cli.overrides import folder_named
from metaloop.errors import UserError
from metaloop.folders.user_path import user_path
from metaloop.process.fast_import import fast_imports
from metaloop.process.machine_error import in_words
from metaloop.process.terminal import survive_lost_output
from metaloop.user_text import say

DESCRIPTION = """\
Write one HTML page of a run, an evaluation, an adaptation or a sweep, running or
done: results, learning curve, pictures, protocol, environment, the commands that
made it and those to try next. It is a single file that needs neither network nor
JavaScript. A page that is there already is replaced.

  metaloop-report outputs/FOLDER
  metaloop-report outputs/FOLDER/evaluations/test
  metaloop-report outputs/multirun/DATE_TIME --out sweep.html
"""


def main() -> None:
    """Run the command."""
    survive_lost_output()
    parser = argparse.ArgumentParser(
        prog="metaloop-report",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", help="a run, something made of it, or a sweep")
    parser.add_argument("--out", metavar="FILE", help="default: report.html in FOLDER")
    parser.add_argument("--version", action="version", version=version_text())
    arguments = parser.parse_args()
    try:
        folder = folder_named(arguments.folder)
        _report(folder, folder / "report.html" if arguments.out is None else _file(arguments.out))
    except UserError as error:
        fail(error)


def _report(folder: Path, out: Path) -> None:
    with fast_imports():  # here: --help needs no torch
        from metaloop.run.report.report import write_report

    with in_words(out.parent):
        write_report(folder, out)
    say(f"Report: {out}")


def _file(named: str) -> Path:
    """The page's file, whose folder is there."""
    path = user_path(named)
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"--out={named} has to be a file in a folder that is there.")
    return path
