"""Pack everything that a GPU machine without a network lacks into one folder that git ignores.

    python benchmarks/gpu_parcel.py --data-dir OMNIGLOT --reference meta_gradients.npz

That machine has Python 3.12 with torch 2.11, Lightning and their dependencies. The wheels are the
rest of metaloop's dependencies, the build backend for its own wheel, and a peer; none replaces
torch. Weights & Biases comes without its dependencies: its version is recorded, and runs there use
logger=csv. The parcel's run.sh installs everything into a new folder, then runs a command.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = "3.12"
# packages missing on a machine with torch, Lightning, JAX and the usual scientific packages
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
FROM_SOURCE = ("antlr4-python3-runtime",)  # pure Python, but without a wheel
PLATFORMS = [f"manylinux_2_{n}_x86_64" for n in (28, 27, 24, 17)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux1_x86_64"]
ARCHIVES = ("images_background.zip", "images_evaluation.zip")
MOST = 60e6  # bytes, including the tree
# every call installs metaloop from the tree again, since it may have changed
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
    versions = read_versions(ROOT / "constraints.txt")
    pip(
        "download",
        "--only-binary=:all:",
        *platform_arguments(),
        "-d",
        wheels,
        *pin(WHEELS, versions),
    )
    pip("wheel", "-w", wheels, *pin(FROM_SOURCE, versions))
    if arguments.data_dir:
        (parcel / "omniglot").mkdir()
        for name in ARCHIVES:
            shutil.copy(arguments.data_dir / name, parcel / "omniglot")
    if arguments.reference:
        shutil.copy(arguments.reference, parcel / "meta_gradients.npz")
    (parcel / "run.sh").write_text(RUN.format(parcel=parcel.name))
    sizes = size(parcel.rglob("*")), size(tree())
    print(f"{parcel.name}: {sizes[0] / 1e6:.1f} MB, and the tree {sizes[1] / 1e6:.1f} MB")
    if sum(sizes) > MOST:
        sys.exit(f"Error: more than {MOST / 1e6:.0f} MB together. Leave out --data-dir.")
    print(f"Run this on the other machine, in the tree's root, which must contain {parcel.name}:")
    options = data_options(arguments, parcel.name)
    benchmark = f"python3 benchmarks/gpu.py --commit {commit()} {options}"
    print(f"  bash {parcel.name}/run.sh {benchmark}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, help="Omniglot's two archives")
    parser.add_argument("--reference", type=Path, help="the reference meta-gradients")
    return parser.parse_args()


def read_versions(constraints: Path) -> dict[str, str]:
    """Read the version of every package from constraints.txt."""
    lines = constraints.read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def pin(packages: tuple[str, ...], versions: dict[str, str]) -> list[str]:
    """Add the constraints' versions to package names, as pip's arguments."""
    return [f"{name}=={versions[name]}" if name in versions else name for name in packages]


def platform_arguments() -> list[str]:
    """Return pip's arguments for the Python and the machine of the wheels."""
    platforms = [argument for name in PLATFORMS for argument in ("--platform", name)]
    return ["--python-version", PYTHON, "--implementation", "cp", *platforms]


def pip(command: str, *arguments: str | Path) -> None:
    """Run pip for packages without their dependencies."""
    subprocess.run(
        [sys.executable, "-m", "pip", command, "--quiet", "--no-deps", *map(str, arguments)],
        check=True,
    )


def tree() -> list[Path]:
    """List the files in git, and those that it would add."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.splitlines()]


def size(paths: Iterable[Path]) -> int:
    """Add up the bytes of the paths that are files."""
    return sum(path.stat().st_size for path in paths if path.is_file())


def commit() -> str:
    """Return the tree's commit, which a copy without git does not know."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def data_options(arguments: argparse.Namespace, parcel: str) -> str:
    """Return the options of gpu.py for the parcel's data."""
    options = [f"--data-dir {parcel}/omniglot"] * bool(arguments.data_dir)
    options += [f"--reference {parcel}/meta_gradients.npz"] * bool(arguments.reference)
    return " ".join(options)


if __name__ == "__main__":
    main()
