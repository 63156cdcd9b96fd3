"""Write the page of a folder, whatever kind of folder it is."""

from pathlib import Path

from metaloop.folders.atomic_write import write_text
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.read import load_config
from metaloop.run.config.title import title_of
from metaloop.run.report.page import state_of, write_page
from metaloop.run.report.sections import (
    adaptation_sections,
    evaluation_sections,
    progress_of,
    run_sections,
)
from metaloop.run.report.sweep import sweep_page
from metaloop.run.sweeps.sweep_table import is_sweep

SECTIONS = {
    "train": ("", run_sections),
    "evaluate": ("Evaluation of ", evaluation_sections),
    "adapt": ("Adaptation of ", adaptation_sections),
}


def write_report(folder: Path, out: Path) -> None:
    """Write the page of a run, an evaluation, an adaptation or a sweep.

    Raises:
        UserError: if it is none of them, or its config cannot be read.

    """
    write_text(out, sweep_page(folder) if is_sweep(folder) else _page(RunFolder.open(folder)))


def _page(folder: RunFolder) -> str:
    config = load_config(folder)
    command = str(config["command"])
    kind, sections = SECTIONS[command]
    progress = progress_of(folder, config) if command == "train" else ""
    return write_page(
        f"{kind}{title_of(config)}",
        folder.path.resolve().name,
        state_of(folder, progress),
        sections(folder, config),
    )
