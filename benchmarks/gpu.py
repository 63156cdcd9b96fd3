"""Check and measure metaloop on a GPU, in stages of a few minutes; each leaves a record.

    python benchmarks/gpu.py --list
    python benchmarks/gpu.py                                  the next stage without a record
    python benchmarks/gpu.py --stages right fast --data-dir OMNIGLOT
    python benchmarks/gpu.py --stages right --items "CUDA graph"    only these items, again
    python benchmarks/gpu.py --stages right --device cpu --tiny --out FOLDER    a rehearsal

An item that fails is recorded with its error, and the others still run; the exit status is then 1.
After --minutes nothing new is started. A stage that was cut short continues where it stopped (copy
its record to --out first, if that is elsewhere); a complete one starts again. A training run that
was stopped starts again too.
`gpu_parcel.py` packs everything that a GPU machine without a network lacks.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from gpu_stages import ROOT
from gpu_stages.fast import fast
from gpu_stages.published import faithful, omniglot
from gpu_stages.record import Record, Setting, is_complete
from gpu_stages.right import right
from gpu_stages.zoo import conformance

# most important first
STAGES = {
    "right": right,
    "fast": fast,
    "omniglot": omniglot,
    "faithful": faithful,
    "conformance": conformance,
}


def main() -> int:
    """Run the chosen stages; return 1 if an item failed."""
    arguments = parse()
    if arguments.list:
        for name, stage in STAGES.items():
            done = "recorded" if is_complete(arguments.out / f"{name}.json") else "to do"
            print(f"{name:10} {done:10} {(stage.__doc__ or '').splitlines()[0]}")
        return 0
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("Error: torch finds no CUDA device here. Rehearse with --device cpu --tiny.")
        return 2
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        setting = make_setting(arguments, Path(folder))
        for name in arguments.stages or next_stage(arguments.out):
            print(f"{name}: {(STAGES[name].__doc__ or '').splitlines()[0]}", flush=True)
            record = Record(name, setting)
            STAGES[name](setting, record)
            record.save(is_complete=True)
            print(f"  written: {record.path}", flush=True)
            failures += [f"{name}: {item}" for item in record.failed]
    if failures:
        print("Failed:", *failures, sep="\n  ")
    return 1 if failures else 0


def next_stage(out: Path) -> list[str]:
    """Return the first stage without a complete record."""
    found = [name for name in STAGES if not is_complete(out / f"{name}.json")]
    if not found:
        print(f"Every stage has a record in {out}. Use --stages to run one again.")
    return found[:1]


def make_setting(arguments: argparse.Namespace, folder: Path) -> Setting:
    """Make the stages' setting, with absolute paths, since they start processes elsewhere."""
    data_dir = arguments.data_dir
    return Setting(
        device=arguments.device,
        tiny=arguments.tiny,
        data_dir=data_dir.resolve() if data_dir else None,
        reference=arguments.reference.resolve(),
        minutes=arguments.minutes,
        items=tuple(arguments.items),
        commit=arguments.commit,
        out=arguments.out,
        folder=folder,
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="list the stages that have a record")
    parser.add_argument(
        "--stages", nargs="+", choices=STAGES, help="default: the next without a record"
    )
    parser.add_argument("--items", nargs="+", default=[], help="only items with this in their name")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal in seconds")
    parser.add_argument("--data-dir", type=Path, help="Omniglot's two archives")
    parser.add_argument(
        "--reference",
        type=Path,
        default=ROOT.parent / "shared/reference/meta_gradients.npz",
        help="the reference meta-gradients",
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="for a stage")
    parser.add_argument("--commit", help="commit of the sources, if they are not a git checkout")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/records/gpu")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
