"""Pack what a GPU machine without a network lacks into one folder that git ignores.

    python benchmarks/gpu_parcel.py --data-dir OMNIGLOT --reference meta_gradients.npz

Python there is 3.12 with torch 2.11, Lightning and what these bring: the wheels are the rest of
metaloop's dependencies, what builds its own wheel from the tree, and a peer. None of them replaces
torch. Weights & Biases comes without its own dependencies: its version is recorded, and runs there
take logger=csv. The parcel's run.sh installs all of it into a new folder and then runs a command.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = "3.12"
# what a machine with torch, Lightning, JAX and the usual scientific packages lacks
WHEELS = (
    "hydra-core",
    "omegaconf",
    "pydantic",
    "pydantic_core",
    "annotated-types",
    "typing-inspection",
    "wandb",
    "hatchling",
    "trove-classifiers",
    "higher==0.2.1",
)
FROM_SOURCE = ("antlr4-python3-runtime",)  # pure Python, without a wheel
PLATFORMS = [f"manylinux_2_{n}_x86_64" for n in (28, 27, 24, 17)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux1_x86_64"]
ARCHIVES = ("images_background.zip", "images_evaluation.zip")
MOST = 60e6  # bytes, with the tree
# the tree's metaloop is installed anew by every call: it may have changed
RUN = """\
#!/usr/bin/env bash
# In the root of the tree: bash {parcel}/run.sh COMMAND ..  installs, then runs the command.
set -euo pipefail
site=$(mktemp -d)
pip="python3 -m pip install -q --no-index --no-deps --no-compile --upgrade --target $site"
$pip {parcel}/wheels/*.whl
export PYTHONPATH=$site
$pip --no-build-isolation .
exec "$@"
"""


def main() -> None:
    """Fill the parcel, check its size, and print how to use it."""
    arguments = parse()
    parcel = ROOT / ".parcel"
    shutil.rmtree(parcel, ignore_errors=True)
    wheels = parcel / "wheels"
    wheels.mkdir(parents=True)
    versions = pinned(ROOT / "constraints.txt")
    pip("download", "--only-binary=:all:", *for_python(), "-d", wheels, *named(WHEELS, versions))
    pip("wheel", "-w", wheels, *named(FROM_SOURCE, versions))
    if arguments.data_dir:
        (parcel / "omniglot").mkdir()
        for name in ARCHIVES:
            shutil.copy(arguments.data_dir / name, parcel / "omniglot")
    if arguments.reference:
        shutil.copy(arguments.reference, parcel / "meta_gradients.npz")
    (parcel / "run.sh").write_text(RUN.format(parcel=parcel.name))
    bytes_of = size(parcel.rglob("*")), size(tree())
    print(f"{parcel.name}: {bytes_of[0] / 1e6:.1f} MB, and the tree {bytes_of[1] / 1e6:.1f} MB")
    if sum(bytes_of) > MOST:
        sys.exit(f"Error: more than {MOST / 1e6:.0f} MB together. Leave out --data-dir.")
    print(f"There, in the tree's root, with {parcel.name} in it:")
    benchmark = f"python3 benchmarks/gpu.py --commit {commit()} {given(arguments, parcel.name)}"
    print(f"  bash {parcel.name}/run.sh {benchmark}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, help="Omniglot's two archives")
    parser.add_argument("--reference", type=Path, help="the reference meta-gradients")
    return parser.parse_args()


def pinned(constraints: Path) -> dict[str, str]:
    """The version of every package in constraints.txt."""
    lines = constraints.read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def named(packages: tuple[str, ...], versions: dict[str, str]) -> list[str]:
    """Packages as pip wants them, at the constraints' versions."""
    return [f"{name}=={versions[name]}" if name in versions else name for name in packages]


def for_python() -> list[str]:
    """The Python and the machine that wheels are downloaded for."""
    platforms = [argument for name in PLATFORMS for argument in ("--platform", name)]
    return ["--python-version", PYTHON, "--implementation", "cp", *platforms]


def pip(command: str, *arguments: str | Path) -> None:
    """Run pip for packages without their dependencies."""
    subprocess.run(
        [sys.executable, "-m", "pip", command, "--quiet", "--no-deps", *map(str, arguments)],
        check=True,
    )


def tree() -> list[Path]:
    """The files that git has, and those that it would add."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.splitlines()]


def size(paths: Iterable[Path]) -> int:
    """Bytes of those that are files."""
    return sum(path.stat().st_size for path in paths if path.is_file())


def commit() -> str:
    """The tree's commit, which a copy without git does not know."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def given(arguments: argparse.Namespace, parcel: str) -> str:
    """Where the parcel's data are, for gpu.py."""
    said = [f"--data-dir {parcel}/omniglot"] * bool(arguments.data_dir)
    said += [f"--reference {parcel}/meta_gradients.npz"] * bool(arguments.reference)
    return " ".join(said)


if __name__ == "__main__":
    main()
