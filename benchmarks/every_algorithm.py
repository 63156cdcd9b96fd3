"""Compare every algorithm on an equal small budget: sinusoids, Omniglot and CIFAR-FS 5-way 1-shot.

    python benchmarks/every_algorithm.py --data-dir DATA --out every_algorithm.json
    python benchmarks/every_algorithm.py --tasks cifar_fs --data-dir CIFAR --out cifar_fs.json

Each runs one metaloop-train in its own process, with the same tasks, number of meta-steps, seed and
600 test episodes. Model and meta-optimizer are the same too, unless an algorithm defines its own
(SETTINGS). Step sizes are the configs', or were chosen from a few values on validation episodes.
Differences are paired: they compare the same test episode under both learners, after each one's
last inner step.
"""

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from metaloop.run.comparison.paired import PairedDifference, paired_difference
from metaloop.run.sweeps.sweep_table import Result, over_values

BASELINE = "maml"
BUDGET = {
    "sinusoid": (
        "task=sinusoid",
        "data.meta_batch_size=25",
        "training.max_steps=2000",
        "training.validate_every=500",
    ),
    "omniglot": (
        "task=omniglot",
        "task.queries=1",
        "model.filters=32",
        "data.meta_batch_size=16",
        "training.max_steps=600",
        "training.validate_every=200",
    ),
    "cifar_fs": (
        "task=cifar_fs",
        "task.queries=5",
        "model.filters=32",
        "data.meta_batch_size=16",
        "training.max_steps=1000",
        "training.validate_every=250",
        "device.tasks_at_once=8",
    ),
}
HAVE_DATA = ("omniglot", "cifar_fs")  # each in its own folder
METRIC = {"sinusoid": "query_loss", "omniglot": "accuracy", "cifar_fs": "accuracy"}
REPTILE = ("optimizer=sgd", "optimizer.momentum=0", "scheduler=linear")
# What differs from the algorithm's config, by task.
STEPS = "algorithm.eval_inner_steps"
SETTINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "maml": {
        "sinusoid": (),
        "omniglot": ("algorithm.inner_lr=0.5", f"{STEPS}=3"),
        "cifar_fs": ("algorithm.inner_lr=0.2", "algorithm.inner_steps=3", f"{STEPS}=3"),
    },
    "fomaml": {"sinusoid": (), "omniglot": ("algorithm.inner_lr=0.5", f"{STEPS}=3")},
    "anil": {
        "sinusoid": ("algorithm.inner_lr=0.05",),
        "omniglot": ("algorithm.inner_lr=0.5", f"{STEPS}=5"),
    },
    "boil": {"sinusoid": (), "omniglot": ("algorithm.inner_lr=0.5", f"{STEPS}=3")},
    "meta_sgd": {"sinusoid": (), "omniglot": ("algorithm.inner_lr=0.5",)},
    "meta_curvature": {"sinusoid": (), "omniglot": ("algorithm.inner_lr=0.5", f"{STEPS}=3")},
    "maml_plus_plus": {
        "sinusoid": (
            "algorithm.inner_lr=0.01",
            "algorithm.multi_step_epochs=1",
            "training.own_lr=0.0001",
        ),
        "omniglot": ("algorithm.multi_step_epochs=1", "algorithm.epoch_steps=300"),
    },
    "cavia": {
        "sinusoid": ("model.context_size=5",),
        "omniglot": ("model.context_size=100", "algorithm.inner_lr=10", f"{STEPS}=3"),
    },
    "imaml": {
        "sinusoid": (),
        "omniglot": (
            "algorithm.inner_lr=0.2",
            "algorithm.strength=0.2",
            "algorithm.inner_steps=10",
            f"{STEPS}=10",
            "norm_adapts=none",
        ),
    },
    "reptile": {
        "sinusoid": (*REPTILE, "optimizer.lr=1", "scheduler.total_iters=2000"),
        "omniglot": (
            *REPTILE,
            "optimizer.lr=1",
            "scheduler.total_iters=600",
            "task.shots=10",
            "algorithm.batch_size=10",
            "algorithm.inner_lr=0.003",
            f"{STEPS}=20",
        ),
    },
    "prototypical": {"omniglot": (), "cifar_fs": ()},
    "pretrain": {
        "sinusoid": (),
        "omniglot": ("algorithm.inner_lr=0.5", f"{STEPS}=10"),
        "cifar_fs": ("algorithm.inner_lr=0.1",),
    },
    "random": {
        "sinusoid": (),
        "omniglot": ("algorithm.inner_lr=0.5", f"{STEPS}=10"),
        "cifar_fs": ("algorithm.inner_lr=0.1",),
    },
}
# Reptile trains on more shots than it is tested with, as in its paper: repeated steps on a single
# image per class do not generalise to other images.
TESTED_WITH = {("reptile", "omniglot"): ("task.shots=1",)}
# The baselines, which are configs of another algorithm.
RANDOM = ("algorithm=pretrain", "training.max_steps=0")


def main() -> None:
    """Train and evaluate every algorithm, then print one table per task."""
    arguments = parse()
    console = Console()
    tasks = [t for t in BUDGET if t in arguments.tasks]
    if arguments.data_dir is None and (left_out := [t for t in tasks if t in HAVE_DATA]):
        console.print(f"{', '.join(left_out)} left out: set --data-dir to the folder.")
        tasks = [t for t in tasks if t not in HAVE_DATA]
    found: dict[str, dict[str, dict[str, object]]] = {}
    for task in tasks:
        names = [n for n in SETTINGS if task in SETTINGS[n] and n in arguments.algorithms]
        found[task] = {}
        for number, name in enumerate(names, 1):
            with console.status(f"{task}: {name} ({number} of {len(names)})"):
                found[task][name] = train(name, task, arguments)
            seconds = found[task][name]["seconds"]
            console.print(f"{task:10} {name:15} {seconds:7.0f} s", highlight=False)
        console.print(
            f"\n{task}\n\n{table(found[task], METRIC[task])}\n", highlight=False, soft_wrap=True
        )
        if arguments.out:  # after each task, in case of an interruption
            arguments.out.write_text(json.dumps(found, indent=1))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="Omniglot's or CIFAR-100's files")
    parser.add_argument("--tasks", nargs="+", choices=BUDGET, default=["sinusoid", "omniglot"])
    parser.add_argument("--algorithms", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--runs", type=Path, default=Path("outputs/every_algorithm"))
    parser.add_argument("--set", nargs="*", default=[], help="further overrides, for all runs")
    parser.add_argument("--out", type=Path, help="a JSON file for all values")
    return parser.parse_args()


def train(name: str, task: str, arguments: argparse.Namespace) -> dict[str, object]:
    """Run one metaloop-train; return its test values, seconds and peak memory."""
    choice = RANDOM if name == "random" else (f"algorithm={name}",)
    data = [] if arguments.data_dir is None else [f"task.data_dir={arguments.data_dir.resolve()}"]
    command = [
        str(Path(sys.executable).parent / "metaloop-train"),
        *(b for b in BUDGET[task] if not b.startswith("training.max_steps") or name != "random"),
        *choice,
        *SETTINGS[name][task],
        *(data if task in HAVE_DATA else []),
        f"output_dir={arguments.runs}",
        "logger=csv",
        "callbacks.pictures=null",
        *arguments.set,
    ]
    start = time.perf_counter()
    log = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert log.stdout is not None
    output = log.stdout.read()
    _, status, usage = os.wait4(log.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"{' '.join(command)}\nended with an error:\n{output}")
    (folder,) = re.findall(r"^Training: (.*)$", output, re.MULTILINE)
    evaluation = "test"
    if (name, task) in TESTED_WITH:
        evaluation = "as_the_others"
        subprocess.run(
            [
                str(Path(sys.executable).parent / "metaloop-evaluate"),
                f"run={folder}",
                f"name={evaluation}",
                *TESTED_WITH[name, task],
            ],
            check=True,
            capture_output=True,
        )
    with (Path(folder) / "evaluations" / evaluation / "episodes.csv").open() as file:
        rows = list(csv.DictReader(file))
    last = max(int(column.rsplit("_", 1)[1]) for column in rows[0] if "step" in column)
    values = [float(row[f"{METRIC[task]}_step_{last}"]) for row in rows]
    before = [float(row[f"{METRIC[task]}_step_0"]) for row in rows]
    return {
        "command": " ".join(["metaloop-train", *command[1:]]),
        "values": values,
        "before": before,
        "inner_steps": last,
        "seconds": seconds,
        "peak_mib": usage.ru_maxrss / 1024,
    }


def table(found: dict[str, dict[str, object]], metric: str) -> str:
    """Make a Markdown table with one row per algorithm."""
    percent = metric == "accuracy"
    name = "accuracy, %" if percent else "mean squared error"
    lines = [
        f"| algorithm | inner steps | {name}, before | after | minus `{BASELINE}`, paired "
        "| wall time, s | peak memory, MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for algorithm, run in found.items():
        paired = "-"
        if BASELINE in found and algorithm != BASELINE:
            paired = shown(paired_difference(run["values"], found[BASELINE]["values"]), percent)
        before = shown(over_values(run["before"]), percent)
        after = shown(over_values(run["values"]), percent)
        lines.append(
            f"| `{algorithm}` | {run['inner_steps']} | {before} | {after} | {paired} "
            f"| {run['seconds']:.0f} | {run['peak_mib']:.0f} |"
        )
    return "\n".join(lines)


def shown(found: Result | PairedDifference, percent: bool) -> str:
    """Format mean +/- the half-width of its interval."""
    scale, digits = (100, 1) if percent else (1, 3)
    return f"{scale * found.mean:.{digits}f} +/- {scale * found.half_width:.{digits}f}"


if __name__ == "__main__":
    main()
