"""Test learners in a domain that they were not trained in: characters and photographs.

    python benchmarks/transfer.py --omniglot DATA --cifar CIFAR --out benchmarks/records/transfer

Every learner is trained by as many tasks of Omniglot's characters (or of CIFAR-FS's photographs, by
--trained-on), both grey and of 28 x 28 pixels, and is tested in both domains. Both algorithms adapt
from the class means of a task's features, so that only the training of these differs.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from record import Part, how_made, made, plus_minus, read, save
from rich.console import Console
from runs.command import run_command, run_train

COMMON = (
    *("task.queries=5", "model.filters=16", "optimizer.lr=0.003", "data.meta_batch_size=8"),
    *("algorithm.eval_inner_steps=3", "evaluation.episodes=300"),
)
DOMAINS = {
    "characters": ("task=omniglot",),
    "photographs": ("task=cifar_fs", "task.image_size=28", "task.channels=1"),
}
ALGORITHMS = {
    "pretrain": ("algorithm.start=prototypes", "algorithm.inner_lr=0.1"),
    "proto_maml": ("algorithm.inner_lr=0.1", "algorithm.inner_steps=2"),
}
NOTHING = "nothing"  # trained on it: the network as it begins


def main() -> None:
    """Train every learner, test it in both domains, and print the table."""
    arguments = parse()
    console = Console()
    parts: dict[str, Part] = read(arguments.out)  # continue an interrupted run
    trained = product(arguments.trained_on, ALGORITHMS)
    for trained_on, algorithm in ((NOTHING, "pretrain"), *trained):
        if (name := f"{algorithm} on {trained_on}") not in parts:
            with console.status(name):
                parts[name] = train_and_test(trained_on, algorithm, arguments)
            if arguments.out:
                save(parts, tables(parts), arguments.out)
    print(tables(parts))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--omniglot", type=Path, required=True, help="its archives")
    parser.add_argument("--cifar", type=Path, required=True, help="CIFAR-100's files")
    parser.add_argument("--trained-on", nargs="+", choices=DOMAINS, default=["characters"])
    parser.add_argument("--meta-steps", type=int, default=150)
    parser.add_argument("--runs", type=Path, default=Path("outputs/transfer"))
    parser.add_argument("--set", nargs="*", default=[], help="further overrides, for all runs")
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md, or adds to them")
    return parser.parse_args()


def train_and_test(trained_on: str, algorithm: str, arguments: argparse.Namespace) -> Part:
    """Run one metaloop-train, which tests in its own domain, and a metaloop-evaluate in another."""
    data = {"characters": arguments.omniglot, "photographs": arguments.cifar}
    tasks = {
        domain: (*DOMAINS[domain], f"task.data_dir={data[domain].resolve()}") for domain in DOMAINS
    }
    own, other = sorted(DOMAINS, key=lambda domain: domain != trained_on)
    common = (*COMMON, f"training.max_steps={arguments.meta_steps}", *arguments.set)
    settings = ALGORITHMS[algorithm]
    if trained_on == NOTHING:
        settings = (*settings, "training.max_steps=0")
    run = run_train(
        arguments.runs,
        *tasks[own],
        f"algorithm={algorithm}",
        *(*common, *settings),
        f"training.validate_every={arguments.meta_steps}",
        *("data.validation_episodes=50", "device.threads=1"),
    ).folder
    run_command("metaloop-evaluate", f"run={run}", "name=other", *tasks[other])
    return {
        "made": made(1),
        "trained_on": trained_on,
        "algorithm": algorithm,
        "common": common,
        "settings": settings,
        "tests": {own: accuracy(run, "test"), other: accuracy(run, "other")},
    }


def accuracy(run: Path, evaluation: str) -> Mapping[str, Sequence[float]]:
    """Read mean and interval of the accuracy at each inner step."""
    results = json.loads((run / "evaluations" / evaluation / "results.json").read_text())
    found: Mapping[str, Sequence[float]] = results["metrics"]["accuracy"]
    return found


def tables(parts: Mapping[str, Part]) -> str:
    """Make the table, and say how it was made."""
    first = next(iter(parts.values()))
    lines = [
        f"5-way 1-shot, `{' '.join(first['common'])}`, one seed; accuracy in % over test tasks, "
        "before and after the inner steps, closed 95 % intervals:",
        "",
        f"| trained on | algorithm | {' | '.join(f'{of}, before | after' for of in DOMAINS)} |",
        f"|---|---{'|---|---' * len(DOMAINS)}|",
    ]
    for part in parts.values():
        cells = []
        for found in (part["tests"][domain] for domain in DOMAINS):
            ends = ((found["mean"][k], found["ci95"][k]) for k in (0, -1))
            cells += [plus_minus(mean, width, percent=True) for mean, width in ends]
        how = f"`{part['algorithm']}`, `{' '.join(part['settings'])}`"
        lines.append(f"| {part['trained_on']} | {how} | {' | '.join(cells)} |")
    made_by = dict.fromkeys(how_made(part["made"]) for part in parts.values())
    return "\n".join([*lines, "", *made_by])


if __name__ == "__main__":
    main()
