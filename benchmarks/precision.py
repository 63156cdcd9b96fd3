"""Measure accuracy and speed of bfloat16 compared with float32: Omniglot 5-way 1-shot.

    python benchmarks/precision.py --data-dir OMNIGLOT --meta-steps 1500 --seeds 0 1 --out precision

For every seed there are two runs of metaloop-train that differ only in device.precision. Each is
tested on the same episodes with its own precision, so that differences are paired. Whether bfloat16
is faster depends on the machine: a CPU without instructions for it is much slower.
"""

import argparse
import csv
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from record import Part, how_made, made, plus_minus, save
from rich.console import Console
from runs.command import run_train

from metaloop.run.comparison.paired import paired_difference
from metaloop.run.sweeps.sweep_table import over_values

PRECISIONS = ("32-true", "bf16-mixed")
SPEED = "train/episodes_per_second"


def main() -> None:
    """Train and test with both precisions for every seed, then print the table."""
    arguments = parse()
    console, rows = Console(), []
    for seed in arguments.seeds:
        found = {}
        for precision in PRECISIONS:
            with console.status(f"seed {seed}, {precision}"):
                found[precision] = train(seed, precision, arguments)
        rows.append({"seed": seed, **found})
        console.print(line(rows[-1]), highlight=False, soft_wrap=True)
    parts = {"omniglot": {"made": made(torch.get_num_threads()), "rows": rows}}
    print(f"\n{tables(parts)}")
    if arguments.out:
        save(parts, tables(parts), arguments.out)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="Omniglot's two archives")
    parser.add_argument("--meta-steps", type=int, default=1500)
    parser.add_argument("--episodes", type=int, default=600, help="test episodes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--runs", type=Path, default=Path("outputs/precision"))
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md")
    parser.add_argument("further", nargs="*", help="arguments of metaloop-train, after --")
    return parser.parse_args()


def train(seed: int, precision: str, arguments: argparse.Namespace) -> dict[str, object]:
    """Run one metaloop-train; return each episode's accuracy, and the speed of the training."""
    folder = run_train(
        arguments.runs.resolve(),
        "experiment=finn2017/omniglot_5way_1shot",
        f"task.data_dir={arguments.data_dir.resolve()}",
        f"seed={seed}",
        f"device.precision={precision}",
        f"training.max_steps={arguments.meta_steps}",
        f"training.validate_every={max(1, arguments.meta_steps // 3)}",
        f"training.log_every={max(1, arguments.meta_steps // 30)}",
        f"evaluation.episodes={arguments.episodes}",
        *arguments.further,
    ).folder
    episodes = read_rows(folder / "evaluations/test/episodes.csv")
    last = max(int(column.rsplit("_", 1)[1]) for column in episodes[0] if "step" in column)
    logged = [float(r[SPEED]) for r in read_rows(folder / "metrics.csv") if r.get(SPEED)]
    return {
        "accuracies": [float(episode[f"accuracy_step_{last}"]) for episode in episodes],
        "episodes_per_second": statistics.median(logged[1:]),
    }


def read_rows(path: Path) -> Sequence[Mapping[str, str]]:
    """Read a CSV file's rows."""
    with path.open() as file:
        return list(csv.DictReader(file))


def tables(parts: Mapping[str, Part]) -> str:
    """Make the table, and say how it was made."""
    (part,) = parts.values()
    lines = [
        "| seed | float32, % | bf16-mixed, % | bf16-mixed - float32, paired | speed, float32 = 1 |",
        "|---|---|---|---|---|",
        *map(line, part["rows"]),
    ]
    return "\n".join([*lines, "", how_made(part["made"])])


def line(row: Part) -> str:
    """Make one seed's line of the table."""
    single, half = (row[precision]["accuracies"] for precision in PRECISIONS)
    found = over_values(single), over_values(half), paired_difference(half, single)
    cells = [plus_minus(one.mean, one.half_width, percent=True) for one in found]
    speeds = [row[precision]["episodes_per_second"] for precision in PRECISIONS]
    return f"| {row['seed']} | {' | '.join(cells)} | {speeds[1] / speeds[0]:.2f} |"


if __name__ == "__main__":
    main()
