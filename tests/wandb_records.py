"""What wandb has written of a run, read back by wandb's own reader."""

import json
import subprocess
import sys
from pathlib import Path


def read_records(wandb_folder: Path) -> list[dict]:
    """The records of one of W&B's folders of a run (offline-run-* or run-*), in order."""
    (file,) = wandb_folder.glob("run-*.wandb")
    shown = subprocess.run(
        [str(Path(sys.executable).parent / "wandb"), "leet", "inspect", "--json", str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in shown.stdout.splitlines() if line.strip()]


def rows(records: list[dict]) -> list[dict[str, float]]:
    """The logged rows of scalars, as metrics.csv names them."""
    items = [r["history"]["item"] for r in records if r["type"] == "history"]
    logged = [
        {
            name.replace("trainer/global_step", "step"): float(value)
            for name, value in item.items()
            if not name.startswith(("_", "pictures/"))
        }
        for item in items
    ]
    return [row for row in logged if set(row) != {"step"}]


def summary(records: list[dict]) -> dict[str, object]:
    """The last value of everything that was logged or set in the summary."""
    values: dict[str, object] = {}
    for record in records:
        values |= record.get("summary", {}).get("update", {})
    return values
