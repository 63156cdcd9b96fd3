"""Compare meta-learned adapters with meta-learning everything, from one pretrained network.

    python benchmarks/adapter_accuracy.py --data-dir CLINC150 --out OUT

A network is pretrained on CLINC150's training classes. From there proto_maml meta-learns nothing,
adapters, or everything, for as many meta-steps; each is tested on the same episodes.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from record import Part, how_made, made, plus_minus, save
from rich.console import Console
from runs.command import run_train

from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.build import build
from metaloop.run.config.run_config import RunConfig

COMMON = ("task=clinc150", "task.vocabulary_size=4096", "data.meta_batch_size=8")
PRETRAIN = ("algorithm=pretrain", "algorithm.start=prototypes", "optimizer.lr=0.01")
FROM_THERE = ("algorithm=proto_maml", "algorithm.inner_lr=0.1", "algorithm.inner_steps=2")
STEPS = "algorithm.eval_inner_steps=2"
LEARNERS = {
    "nothing": ("training.max_steps=0",),
    "adapters": ("part=lora", "part.rank=4"),
    "everything": (),
}


def main() -> None:
    """Pretrain, meta-train from there, and print the table."""
    arguments = parse()
    console = Console()
    with console.status("pretraining"):
        start = train(arguments, arguments.pretraining, *PRETRAIN)
    rows = []
    for name, settings in LEARNERS.items():
        with console.status(name):
            of_here = (*FROM_THERE, STEPS, f"init_from={start}", *settings)
            rows.append(describe(name, settings, train(arguments, arguments.meta_steps, *of_here)))
    steps = {"pretraining": arguments.pretraining, "meta_steps": arguments.meta_steps}
    parts = {"clinc150": {"made": made(1), **steps, "rows": rows}}
    print(tables(parts))
    if arguments.out:
        save(parts, tables(parts), arguments.out)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="CLINC150's files")
    parser.add_argument("--pretraining", type=int, default=500, help="its meta-steps")
    parser.add_argument("--meta-steps", type=int, default=200)
    parser.add_argument("--runs", type=Path, default=Path("outputs/adapter_accuracy"))
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md")
    return parser.parse_args()


def train(arguments: argparse.Namespace, meta_steps: int, *settings: str) -> Path:
    """Run one metaloop-train; return its folder."""
    return run_train(
        arguments.runs,
        *COMMON,
        f"task.data_dir={arguments.data_dir.resolve()}",
        f"training.max_steps={meta_steps}",
        f"training.validate_every={max(1, meta_steps // 4)}",
        "device.threads=1",
        *settings,
    ).folder


def describe(name: str, settings: tuple[str, ...], run: Path) -> dict[str, object]:
    """Return what is learned, and the accuracy before and after the inner steps."""
    learned = {}
    if settings != LEARNERS["nothing"]:
        learned = build(RunConfig.read(RunFolder(run))).meta_learner.meta
    results = json.loads((run / "evaluations/test/results.json").read_text())
    found = {"mean": results["metrics"]["accuracy"]["mean"]}
    found["ci95"] = results["metrics"]["accuracy"]["ci95"]
    return {
        "learned": name,
        "settings": settings,
        "elements": sum(p.numel() for p in learned.values()),
        "episodes": results["episodes"],
        "accuracy": found,
    }


def tables(parts: Mapping[str, Part]) -> str:
    """Make the table, and say how it was made."""
    (part,) = parts.values()
    lines = [
        f"{part['pretraining']} meta-steps of `{' '.join((*COMMON, *PRETRAIN))}`, then "
        f"{part['meta_steps']} of `{' '.join(FROM_THERE)}`; 5-way 1-shot, "
        f"{part['rows'][0]['episodes']} test episodes, one seed:",
        "",
        "| what is meta-trained from there | elements | accuracy, %, as prototypes | adapted |",
        "|---|---|---|---|",
    ]
    for row in part["rows"]:
        what = f"{row['learned']}, `{' '.join(row['settings'])}`".removesuffix(", ``")
        curves = zip(row["accuracy"]["mean"], row["accuracy"]["ci95"], strict=True)
        before, *_, after = (plus_minus(mean, width, percent=True) for mean, width in curves)
        lines.append(f"| {what} | {row['elements']:,} | {before} | {after} |")
    return "\n".join([*lines, "", how_made(part["made"])])


if __name__ == "__main__":
    main()
