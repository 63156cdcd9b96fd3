"""Measure accuracy and speed of bfloat16 compared with float32: Omniglot 5-way 1-shot.

    python benchmarks/precision.py --data-dir OMNIGLOT --meta-steps 1500 --seeds 0 1

For every seed there are two runs of metaloop-train that differ only in device.precision. Each is
tested on the same episodes with its own precision, so that differences are paired. Whether bfloat16
is faster depends on the machine: a CPU without instructions for it is much slower.
"""

import argparse
import csv
import re
import statistics
from pathlib import Path
from typing import NamedTuple

import numpy as np
from against_baselines import percent, run_command
from rich.console import Console

from metaloop.run.comparison.paired import paired_difference
from metaloop.run.sweeps.sweep_table import over_values

PRECISIONS = ("32-true", "bf16-mixed")
SPEED = "train/episodes_per_second"


class Trained(NamedTuple):
    """A run's accuracy on every test episode, and its episodes per second in training."""

    accuracies: np.ndarray
    speed: float


def main() -> None:
    """Train and test with both precisions for every seed, then print the table."""
    arguments = parse()
    console, rows = Console(), []
    for seed in arguments.seeds:
        found = {}
        for precision in PRECISIONS:
            with console.status(f"seed {seed}, {precision}"):
                found[precision] = train(seed, precision, arguments)
        rows.append(row(seed, *found.values()))
        console.print(rows[-1], highlight=False, soft_wrap=True)
    head = (
        "| seed | float32, % | bf16-mixed, % | bf16-mixed - float32, paired | speed, float32 = 1 |"
    )
    print(f"\n{head}\n|---|---|---|---|---|", *rows, sep="\n")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="Omniglot's two archives")
    parser.add_argument("--meta-steps", type=int, default=1500)
    parser.add_argument("--episodes", type=int, default=600, help="test episodes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--out", type=Path, default=Path("outputs/precision"), help="folder of the runs"
    )
    parser.add_argument("further", nargs="*", help="arguments of metaloop-train, after --")
    return parser.parse_args()


def train(seed: int, precision: str, arguments: argparse.Namespace) -> Trained:
    """Run one metaloop-train."""
    output = run_command(
        "metaloop-train",
        "experiment=finn2017/omniglot_5way_1shot",
        f"task.data_dir={arguments.data_dir.resolve()}",
        f"seed={seed}",
        f"device.precision={precision}",
        f"training.max_steps={arguments.meta_steps}",
        f"training.validate_every={max(1, arguments.meta_steps // 3)}",
        f"training.log_every={max(1, arguments.meta_steps // 30)}",
        f"evaluation.episodes={arguments.episodes}",
        f"output_dir={arguments.out.resolve()}",
        "logger=csv",
        "callbacks.pictures=null",
        *arguments.further,
    )
    (folder,) = (Path(f) for f in re.findall(r"^Training: (.*)$", output, re.MULTILINE))
    episodes = read(folder / "evaluations/test/episodes.csv")
    last = max(int(column.rsplit("_", 1)[1]) for column in episodes[0] if "step" in column)
    logged = [float(r[SPEED]) for r in read(folder / "metrics.csv") if r.get(SPEED)]
    accuracies = np.array([float(episode[f"accuracy_step_{last}"]) for episode in episodes])
    return Trained(accuracies, statistics.median(logged[1:]))


def read(path: Path) -> list[dict[str, str]]:
    """Read a CSV file's rows."""
    with path.open() as file:
        return list(csv.DictReader(file))


def row(seed: int, single: Trained, half: Trained) -> str:
    """Format one seed's row of the table, in Markdown."""
    means = (over_values(trained.accuracies) for trained in (single, half))
    difference = paired_difference(half.accuracies, single.accuracies)
    cells = " | ".join(map(percent, (*means, difference)))
    return f"| {seed} | {cells} | {half.speed / single.speed:.2f} |"


if __name__ == "__main__":
    main()
