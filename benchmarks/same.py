"""Compare small seeded runs with those of another commit, bit for bit.

    python benchmarks/same.py main
    python benchmarks/same.py HEAD~3 --only maml imaml --keep compared

A refactoring must not change results: each run trains once with the commit's code, in a temporary
git worktree, and once with this working tree's, at the same time and in the same environment. Then
weights, optimizer, metrics.csv and the evaluation must be equal to the last bit. Omniglot's runs
need its two archives, and share its decoded images (METALOOP_CACHE).
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bitwise.run_folders import compare, summarize

ROOT = Path(__file__).resolve().parents[1]
# run metaloop-train from the package under the folder in the first argument, and no other
TRAIN = (
    "import sys; from metaloop.cli import train; source = sys.argv.pop(1); "
    "assert train.__file__.startswith(source), train.__file__; train.main()"
)
# A renamed key lists its names in order: "data.new|data.old=4".
SHORT = (
    "seed=3",
    "logger=csv",
    "device=cpu",
    "data.meta_batch_size=4",
    "data.validation_episodes=20",
    "training.max_steps=24",
    "training.validate_every=8",
    "training.log_every=3",
    "training.save_every=8",
    "evaluation.episodes=50",
)
PLAIN = (*SHORT, "callbacks.pictures=null")  # drawing takes longer than the training
REPTILE = ("algorithm=reptile", "optimizer=sgd", "optimizer.lr=1", "optimizer.momentum=0")
OMNIGLOT = (*PLAIN, "task=omniglot", "task.queries=2", "model.filters=8")
RUNS: dict[str, tuple[str, ...]] = {
    "maml": (*SHORT, "algorithm=maml", "training.report=true"),
    "reptile": (*PLAIN, *REPTILE, "scheduler=linear", "scheduler.total_iters=24"),
    "imaml": (*PLAIN, "algorithm=imaml", "training.clip_norm=1"),
    "pretrain": (*PLAIN, "algorithm=pretrain"),
    "maml_two_processes": (
        *PLAIN,
        "algorithm=maml",
        "device=ddp",
        "device.accelerator=cpu",
        "device.devices=2",
    ),
    "maml_plus_plus_omniglot": (
        *OMNIGLOT,
        "algorithm=maml_plus_plus",
        "algorithm.epoch_steps=4",
        "algorithm.multi_step_epochs=3",
        "training.own_lr=0.0001",
    ),
    "reptile_omniglot": (*OMNIGLOT, *REPTILE),
    "pretrain_omniglot": (*OMNIGLOT, "algorithm=pretrain"),
}
LOG_LINES = 15  # printed lines of a failed run's log


def main() -> None:
    """Run both trees, compare, and exit with status 1 if anything differs."""
    arguments = parse()
    data, start_of_all = find_shared_data() / "omniglot", time.monotonic()
    chosen = [name for name in RUNS if name in arguments.only]
    left_out = [name for name in chosen if needs_omniglot(name)]
    if left_out and not any(data.glob("*.zip")):
        print(
            f"Left out {', '.join(left_out)}: no archives in {data} (METALOOP_SHARED_DATA/omniglot)"
        )
        chosen = [name for name in chosen if name not in left_out]
    if not chosen:
        sys.exit("Nothing was compared.")
    with tempfile.TemporaryDirectory() as temporary, check_out(arguments.base, temporary) as base:
        folder = arguments.keep or Path(temporary) / "runs"
        others = []
        for number, name in enumerate(chosen, 1):
            print(f"{number}/{len(chosen)} {name:24}", end="", flush=True)
            started = time.monotonic()
            overrides = list(RUNS[name])
            if needs_omniglot(name):
                overrides.append(f"task.data_dir={data}")
            lines = judge(base, folder / name, overrides)
            verdict = "different" if lines else "same"
            print("\n  ".join([f"{verdict} ({time.monotonic() - started:.0f} s)", *lines]))
            others += [name] if lines else []
    verdict = f"different: {', '.join(others)}" if others else "all the same"
    print(f"{arguments.base} -> working tree: {verdict} ({time.monotonic() - start_of_all:.0f} s)")
    sys.exit(1 if others else 0)


def parse() -> argparse.Namespace:
    """Read the command line."""
    about, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", help="the commit, branch or tag to compare with")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=RUNS,
        default=list(RUNS),
        metavar="NAME",
        help=f"run only these, of: {', '.join(RUNS)}",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="keep both trees' run folders and logs here, in a new or empty folder",
    )
    arguments = parser.parse_args()
    if arguments.keep is not None:
        arguments.keep = arguments.keep.resolve()
        if arguments.keep.exists() and not arguments.keep.is_dir():
            parser.error(f"--keep {arguments.keep} is a file. Name a new folder.")
        if arguments.keep.exists() and any(arguments.keep.iterdir()):
            parser.error(f"--keep {arguments.keep} is not empty. Name a new folder.")
    return arguments


def find_shared_data() -> Path:
    """Return the folder of data sets that the tests read too."""
    return Path(os.environ.get("METALOOP_SHARED_DATA", ROOT.parent / "shared" / "data")).resolve()


def needs_omniglot(name: str) -> bool:
    """Check whether the run reads Omniglot's images."""
    return "task=omniglot" in RUNS[name]


@contextmanager
def check_out(base: str, temporary: str) -> Iterator[Path]:
    """Check out a commit next to the working tree, and remove it afterwards."""
    git, tree = ["git", "-C", str(ROOT), "worktree"], Path(temporary).resolve() / "base"
    command = [*git, "add", "--quiet", "--detach", str(tree), f"{base}^{{commit}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{base} cannot be checked out: {done.stderr.strip()}")
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def judge(base: Path, folder: Path, overrides: Sequence[str]) -> list[str]:
    """Train with both trees at the same time; return lines on differences or failures."""
    sides = {"before": base, "after": ROOT}
    children = []
    try:
        for side, tree in sides.items():
            children.append(start(tree, folder / side, overrides))
        failed = [side for side, child in zip(sides, children, strict=True) if child.wait() != 0]
    finally:
        for child in children:
            child.terminate()  # no effect on one that has ended
            child.wait()
    lines = []
    for side in failed:
        output = (folder / side / "log.txt").read_text(errors="replace").splitlines()
        lines += [f"The run {side} the change failed; its last lines:", *output[-LOG_LINES:]]
    if failed:
        return lines
    ((before,), (after,)) = ((folder / side / "outputs").iterdir() for side in sides)
    return summarize(compare(before, after))


def start(tree: Path, folder: Path, overrides: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start metaloop-train as a user of this tree would, with its output in log.txt."""
    folder.mkdir(parents=True)
    source, inherited = str(tree / "src"), os.environ.get("PYTHONPATH")
    command = [sys.executable, "-c", TRAIN, source, "output_dir=outputs"]
    with (folder / "log.txt").open("wb") as log:
        return subprocess.Popen(
            [*command, *(spell(override, tree / "conf") for override in overrides)],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, [source, inherited])),
                "OMP_NUM_THREADS": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def spell(override: str, conf: Path) -> str:
    """Choose the first of a key's names, "new|old=value", that this conf/ has."""
    names, _, value = override.partition("=")
    *earlier, last = names.split("|")
    for name in earlier:
        section, key = name.split(".")[0], name.split(".")[-1]
        files = [conf / "train.yaml", *(conf / section).rglob("*.yaml")]
        if any(re.search(rf"^ *{key}:", file.read_text(), re.MULTILINE) for file in files):
            return f"{name}={value}"
    return f"{last}={value}"


if __name__ == "__main__":
    main()
