"""Run the published schedule of Omniglot 5-way 1-shot: 60,000 meta-steps of 32 tasks, and the test.

    python benchmarks/omniglot_schedule.py --data-dir OMNIGLOT --device gpu

On a GPU it then compares one of its meta-steps with the peers there (against_peers.py). Arguments
after -- are passed to metaloop-train.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

PUBLISHED, STEP = 0.987, 3  # Finn et al. 2017, table 1, after three inner steps


def main() -> None:
    """Train, evaluate, and print the time and the comparison."""
    arguments = parse()
    folder = Path(arguments.out)
    command = ["metaloop-train", "experiment=finn2017/omniglot_5way_1shot", f"output_dir={folder}"]
    command += [f"task.data_dir={arguments.data_dir}", f"device={arguments.device}", "logger=csv"]
    command += ["device.compile=auto", *arguments.further]
    start = time.perf_counter()
    subprocess.run([Path(sys.executable).parent / command[0], *command[1:]], check=True)
    minutes = (time.perf_counter() - start) / 60
    (results,) = folder.glob("*/evaluations/test/results.json")
    metric = json.loads(results.read_text())["metrics"]["accuracy"]
    mean, half_width = (metric[name][STEP] for name in ("mean", "ci95"))
    print(
        f"\n{minutes:.1f} minutes from start to results. Accuracy {mean:.2%} +/- "
        f"{half_width:.2%}; published {PUBLISHED:.1%}."
    )
    if arguments.device == "gpu":
        peers = [Path(__file__).with_name("against_peers.py"), "--device", "cuda"]
        peers += ["--works", "omniglot_1", "--meta-steps", "0"]
        subprocess.run([sys.executable, *peers], check=True)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", required=True, help="Omniglot's two archives")
    parser.add_argument("--device", default="gpu", help="gpu or cpu")
    parser.add_argument("--out", default="outputs/omniglot_schedule", help="a new folder")
    parser.add_argument("further", nargs="*", help="arguments of metaloop-train, after --")
    return parser.parse_args()


if __name__ == "__main__":
    main()
