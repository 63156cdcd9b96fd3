"""Compare meta-learners with the baselines `random` and `pretrain`, tuned equally: 5-way 1-shot.

    python benchmarks/against_baselines.py clinc150 --data-dir CLINC150 --out clinc150
    python benchmarks/against_baselines.py cifar_fs --data-dir CIFAR --out baselines

Every training sees the same number of the same episodes, with the same model. Validation episodes
choose from the same values for every learner: AdamW's learning rate and weight decay, the
checkpoint (best or last), the size and number of the inner steps in test, and, for learners with
inner steps in training, their size there, by short runs. MAML++ keeps its learned step sizes. The
test is one metaloop-evaluate each, on the same 600 episodes, so that differences are paired.
"""

import argparse
import csv
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from record import Part, how_made, made, plus_minus, read, save
from rich.console import Console
from runs.command import run_command, run_train

from metaloop.algorithms import GradientBased
from metaloop.folders.run_folder import RunFolder
from metaloop.inner_loop import StepSize, Update, learned_step_sizes
from metaloop.meta_gradient import adaptation_path
from metaloop.run.checkpoints.weights import find_weights, load_weights
from metaloop.run.comparison.paired import PairedDifference, paired_difference
from metaloop.run.config.build import build
from metaloop.run.config.run_config import RunConfig
from metaloop.run.sweeps.sweep_table import Result, over_values

BASELINES = ("pretrain", "random")
STEP_SIZES = (0.5, 1.0, 2.0, 5.0)
META_LRS = (0.003, 0.01)
WEIGHT_DECAYS = (0.0, 1.0, 3.0)
# common to all learners of a task
COMMON: dict[str, tuple[str, ...]] = {
    "clinc150": (
        "task=clinc150",
        "task.vocabulary_size=4096",
        "optimizer=adamw",
        "data.meta_batch_size=8",
    ),
    "cifar_fs": (
        "task=cifar_fs",
        "task.queries=5",
        "model.filters=32",
        "optimizer=adamw",
        "data.meta_batch_size=8",
    ),
}
# what differs, including the number of inner steps in training
LEARNERS: dict[str, tuple[str, ...]] = {
    "anil": ("algorithm=anil", "algorithm.inner_steps=5"),
    "maml": ("algorithm=maml", "algorithm.inner_steps=2"),
    "maml_plus_plus": ("algorithm=maml_plus_plus", "algorithm.multi_step_epochs=0"),
    "pretrain": ("algorithm=pretrain", "algorithm.inner_lr=0.1"),
    "random": ("algorithm=pretrain", "algorithm.inner_lr=0.1"),
}


class Choice(NamedTuple):
    """The test settings of a learner, with the validation accuracy that chose them."""

    checkpoint: str
    inner_lr: float | None  # None: learned
    inner_steps: int
    accuracy: float


def main() -> None:
    """Train, tune and test every learner, then print the table."""
    arguments = parse()
    console = Console()
    parts: dict[str, Part] = read(arguments.out)  # continue an interrupted run
    for name in [name for name in arguments.learners if name not in parts]:
        with console.status(name):
            parts[name] = {"made": made(torch.get_num_threads()), **learner(name, arguments)}
        console.print(f"{name:10} {parts[name]['choice']}", highlight=False, soft_wrap=True)
        if arguments.out:
            save(parts, tables(parts), arguments.out)
    print(f"\n{tables({name: parts[name] for name in arguments.learners})}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("task", choices=COMMON)
    parser.add_argument("--data-dir", type=Path, required=True, help="the data set's files")
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=list(LEARNERS))
    parser.add_argument("--step-sizes", nargs="+", type=float, default=STEP_SIZES)
    parser.add_argument("--meta-lrs", nargs="+", type=float, default=META_LRS)
    parser.add_argument("--weight-decays", nargs="+", type=float, default=WEIGHT_DECAYS)
    parser.add_argument("--steps", type=int, default=10, help="most inner steps at test")
    parser.add_argument("--meta-steps", type=int, default=1000)
    parser.add_argument("--pilot", type=int, default=250, help="meta-steps of a short run")
    parser.add_argument(
        "--episodes", type=int, default=200, help="validation episodes for the choice"
    )
    parser.add_argument("--runs", type=Path, default=Path("outputs/against_baselines"))
    parser.add_argument("--set", nargs="*", default=[], help="further overrides, for all runs")
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md, or adds to them")
    return parser.parse_args()


def learner(name: str, arguments: argparse.Namespace) -> dict[str, object]:
    """Train a learner with every rate and weight decay; choose the best, and its test settings."""
    pilots: dict[float, float] = {}
    if name not in BASELINES:
        for size in arguments.step_sizes:
            pilot = (f"algorithm.inner_lr={size}", f"optimizer.lr={arguments.meta_lrs[0]}")
            short = train(name, arguments, arguments.pilot, pilot)
            pilots[size] = choose(short, [size], arguments).accuracy
    sized = [f"algorithm.inner_lr={max(pilots, key=pilots.__getitem__)}"] if pilots else []
    meta_steps = 0 if name == "random" else arguments.meta_steps
    tried: dict[tuple[str, ...], tuple[RunFolder, Choice]] = {}
    grid = list(product(arguments.meta_lrs, arguments.weight_decays))
    for rate, decay in grid if meta_steps else grid[:1]:
        trained_with = (*sized, f"optimizer.lr={rate}", f"optimizer.weight_decay={decay}")
        run = train(name, arguments, meta_steps, trained_with)
        tried[trained_with] = run, choose(run, arguments.step_sizes, arguments)
    best = max(tried, key=lambda trained_with: tried[trained_with][1].accuracy)
    run, choice = tried[best]
    command, before, after = test(run, choice)
    return {
        "choice": choice._asdict(),
        "pilots": pilots,
        "validation": {" ".join(of): choice.accuracy for of, (_, choice) in tried.items()},
        "trained_with": best,
        "test": command,
        "before": before,
        "after": after,
    }


def train(
    name: str, arguments: argparse.Namespace, meta_steps: int, more: tuple[str, ...]
) -> RunFolder:
    """Run one metaloop-train."""
    ran = run_train(
        arguments.runs,
        *COMMON[arguments.task],
        *LEARNERS[name],
        f"task.data_dir={arguments.data_dir.resolve()}",
        f"training.max_steps={meta_steps}",
        f"training.validate_every={max(1, meta_steps // 4)}",
        "data.validation_episodes=100",
        "data.eval_meta_batch_size=16",
        "evaluation.episodes=16",  # tested later
        *more,
        *arguments.set,
    )
    return RunFolder(ran.folder)


def choose(run: RunFolder, sizes: list[float], arguments: argparse.Namespace) -> Choice:
    """Choose checkpoint, step size and number of steps by the highest validation accuracy.

    A learner with learned step sizes keeps them, with the number of steps of its training.
    """
    judge = {"split": "validation", "episodes": arguments.episodes}
    pieces = build(RunConfig.read(run).changed(evaluation=judge))
    trained = pieces.algorithm
    assert isinstance(trained, GradientBased)
    pieces.datamodule.setup("test")
    tried = []
    # a run without validation only has its last checkpoint, which is then its best
    for path, checkpoint in {find_weights(run, c): c for c in ("last", "best")}.items():
        load_weights(pieces.meta_learner, path)
        is_learned = bool(learned_step_sizes(pieces.meta_learner.meta))
        for size in [None] if is_learned else sizes:
            algorithm = trained if is_learned else replace(trained, update=Update([StepSize(size)]))
            accuracy = np.concatenate(
                [
                    adaptation_path(
                        algorithm,
                        pieces.meta_learner.meta,
                        pieces.task.gather(batch.episodes, torch.float32),
                        steps=trained.inner_steps if is_learned else arguments.steps,
                        tasks_at_once=pieces.config.device.tasks_at_once,
                    )["accuracy"].numpy()
                    for batch in pieces.datamodule.test_dataloader()
                ]
            ).mean(0)
            step = trained.inner_steps if is_learned else 1 + int(accuracy[1:].argmax())
            tried.append(Choice(checkpoint, size, step, float(accuracy[step])))
    return max(tried, key=lambda choice: choice.accuracy)


def test(run: RunFolder, choice: Choice) -> tuple[str, list[float], list[float]]:
    """Run one metaloop-evaluate; return its command, and each episode's accuracies."""
    command = [
        "metaloop-evaluate",
        f"run={run.path}",
        "name=chosen",
        f"evaluation.checkpoint={choice.checkpoint}",
        *([] if choice.inner_lr is None else [f"algorithm.inner_lr={choice.inner_lr}"]),
        f"algorithm.eval_inner_steps={choice.inner_steps}",
        "evaluation.episodes=600",
    ]
    run_command(*command)
    with (run.evaluations / "chosen" / "episodes.csv").open() as file:
        rows = list(csv.DictReader(file))
    before, after = (
        [float(row[f"accuracy_step_{step}"]) for row in rows] for step in (0, choice.inner_steps)
    )
    return " ".join(command).replace(str(run.path), "RUN"), before, after


def tables(parts: Mapping[str, Part]) -> str:
    """Make a Markdown table with one row per learner, and differences to the first one."""
    first = next(iter(parts))
    lines = [
        "| learner | inner size, rate, decay in training | checkpoint | inner step size, steps "
        f"| accuracy, %, before | after | `{first}` minus it, paired |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, part in parts.items():
        choice, before, after = (part[key] for key in ("choice", "before", "after"))
        paired = "-"
        if name != first:
            paired = percent(paired_difference(parts[first]["after"], after))
        values = ", ".join(override.partition("=")[2] for override in part["trained_with"])
        lines.append(
            f"| `{name}` | {values} | {choice['checkpoint']} | {choice['inner_lr'] or 'learned'}, "
            f"{choice['inner_steps']} | {percent(over_values(before))} "
            f"| {percent(over_values(after))} | {paired} |"
        )
    how = dict.fromkeys(how_made(part["made"]) for part in parts.values())
    return "\n".join([*lines, "", *how])


def percent(found: Result | PairedDifference) -> str:
    """Format mean +/- the half-width of its interval, in percent."""
    return plus_minus(found.mean, found.half_width, percent=True)


if __name__ == "__main__":
    main()
