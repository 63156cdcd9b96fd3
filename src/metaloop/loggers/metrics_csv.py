"""metrics.csv: one row a logged step, continued exactly by a resumed run."""

import argparse
import csv
import io
from collections.abc import Mapping
from pathlib import Path

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from metaloop.folders.atomic_write import write_text
from metaloop.folders.reading import parse_csv, read_text, unreadable

Row = dict[str, str]
REMEDY = "Put a copy of it back, or move it away: the run then begins a new one where it goes on."


class MetricsCsv(Logger):
    """Writes every logged step as one row, columns as they come.

    Lightning's CSVLogger deletes the file of a run that is opened again. This one keeps it, and
    `rewind` takes back what was logged after the checkpoint that a run resumes from.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        self._rows = read_rows(self.path)

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: argparse.Namespace | dict[str, object]) -> None:
        """Do nothing: the run's config.yaml stands beside the file."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row = {"step": str(step), **{name: repr(float(v)) for name, v in metrics.items()}}
        if self._rows and set(row) <= set(self._rows[0]):
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, list(self._rows[0])).writerow(row)
            self._rows.append({name: row.get(name, "") for name in self._rows[0]})
        else:
            self._rows.append(row)
            self._rewrite()

    @rank_zero_only
    def rewind(self, step: int, *, is_extended: bool = False) -> None:
        """Drop the rows after this meta-step: the run that resumes there logs them again.

        Of a run that is extended also what was logged in the middle of a log window, at its end.
        """
        self._rows = [
            row
            for row in self._rows
            if int(row["step"]) <= step and not (is_extended and _is_of_end(row, step))
        ]
        if self._rows:
            self._rewrite()  # also without the line that a crash cut short
        else:
            self.path.unlink(missing_ok=True)

    def _rewrite(self) -> None:
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        self._rows = [{name: row.get(name, "") for name in columns} for row in self._rows]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self.path, text.getvalue())


def _is_of_end(row: Row, step: int) -> bool:
    """Whether training logged a row at this step."""
    is_of_training = any(name.startswith("train") for name, value in row.items() if value)
    return int(row["step"]) == step and is_of_training


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a metrics.csv; a last line cut short by a crash is left out.

    Raises:
        UserError: it is no table of numbers by meta-step.

    """
    rows = parse_csv(read_text(path, REMEDY) or "", path, REMEDY)
    for number, row in enumerate(rows, start=2):
        try:
            int(row["step"])
            for value in row.values():
                float(value or 0)
        except (KeyError, ValueError) as error:
            reason = f"line {number} is no row of numbers by step ({error})"
            raise unreadable(path, reason, REMEDY) from error
    return rows
