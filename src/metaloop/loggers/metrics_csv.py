"""metrics.csv: one row per logged step, continued exactly by a resumed run."""

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
REMEDY = "Restore it from a copy, or move it away: the run then continues in a new one."


class MetricsCsv(Logger):
    """Writes each logged step as one row, adding columns as needed.

    Lightning's CSVLogger deletes the file when a run is opened again. This one keeps it, and
    `rewind` removes what was logged after the checkpoint from which a run resumes.

    Examples:
        >>> from pathlib import Path
        >>> from metaloop import MetricsCsv
        >>> logger = MetricsCsv("metrics.csv")
        >>> logger.log_metrics({"train/query_loss": 0.5}, step=50)
        >>> logger.log_metrics({"val/query_loss": 0.4}, step=50)
        >>> print(Path("metrics.csv").read_text())
        step,train/query_loss,val/query_loss
        50,0.5,
        50,,0.4

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
        """Do nothing: the run folder has a config.yaml."""

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
        """Drop the rows after this meta-step: the resumed run logs them again.

        If the run is extended, also drop the training row of its last step, which may end in the
        middle of a log window.
        """
        self._rows = [
            row
            for row in self._rows
            if int(row["step"]) <= step and not (is_extended and _is_last_of_training(row, step))
        ]
        if self._rows:
            self._rewrite()  # this also removes a truncated line
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


def _is_last_of_training(row: Row, step: int) -> bool:
    """Check whether training logged a row at this step."""
    is_training = any(name.startswith("train") for name, value in row.items() if value)
    return int(row["step"]) == step and is_training


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a metrics.csv; a truncated last line is ignored.

    Raises:
        UserError: if it is not a table of numbers by meta-step.

    """
    rows = parse_csv(read_text(path, REMEDY) or "", path, REMEDY)
    for number, row in enumerate(rows, start=2):
        try:
            int(row["step"])
            for value in row.values():
                float(value or 0)
        except (KeyError, ValueError) as error:
            reason = f"line {number} is not a row of numbers by step ({error})"
            raise unreadable(path, reason, REMEDY) from error
    return rows
