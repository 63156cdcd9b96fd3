"""Measure memory and time of the exact adjoints: MAML on Conv4-64 at 1 and at 20 inner steps.

    python benchmarks/adjoint_memory.py --repeats 5 --out adjoint_memory

Every measurement runs in a fresh process, since a process's peak never falls, and takes the same
meta-gradient twice. The first sets up torch's kernels and allocates memory, which costs most for
the adjoint that needs most; the second is what a training run sees at every step.

5-way 5-shot, 15 queries per class, 28 x 28 grey images (synthetic, with a fixed seed), a meta-batch
of 4 tasks. Peak memory is the process's largest resident set; `above baseline` excludes torch, the
model and the images. Times are CPU times, which other work affects less; each round measures all
configurations, so that slow minutes of the machine affect all of them.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from record import Part, how_made, made, save
from rich.console import Console
from runs.command import UNITS_PER_MEBIBYTE

# The parent never imports torch: a process starts with its parent's resident set as its peak.

ADJOINTS = ("unrolled", "recomputed")
WAYS, SHOTS, QUERIES, TASKS = 5, 5, 15, 4
IMAGE = (1, 28, 28)
INNER_LR = 0.01
Measurement = dict[str, float]
# what is measured, and its digits in the table
QUANTITIES = {"seconds": 1, "first_seconds": 1, "peak_mib": 0, "above_baseline_mib": 0}


def main() -> None:
    """Measure every configuration in turn, and print the results."""
    arguments = parse()
    if arguments.measure:
        adjoint, steps = arguments.measure
        print(json.dumps(measure(adjoint, int(steps), arguments)))
        return
    cells = [(adjoint, steps) for adjoint in ADJOINTS for steps in sorted(arguments.steps)]
    measured: dict[tuple[str, int], list[Measurement]] = {cell: [] for cell in cells}
    console = Console()
    for repeat in range(arguments.repeats):
        # every other round backwards, so that a drift of the machine favours no configuration
        for adjoint, steps in cells if repeat % 2 == 0 else reversed(cells):
            with console.status(f"round {repeat + 1}/{arguments.repeats}: {adjoint} {steps}"):
                measured[adjoint, steps].append(measure_in_fresh_process(adjoint, steps, arguments))
    rows = [{"adjoint": a, "inner_steps": k, "each": each} for (a, k), each in measured.items()]
    parts = {"adjoints": {"made": made(arguments.threads), "rows": rows}}
    print(tables(parts))
    if arguments.out:
        save(parts, tables(parts), arguments.out)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, nargs=2, default=[1, 20], metavar=("FEW", "MANY"))
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes per configuration")
    parser.add_argument(
        "--tasks-at-once", type=int, default=1, help="1 (task by task) limits the memory on a CPU"
    )
    parser.add_argument("--threads", type=int, default=1, help="torch's threads")
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_in_fresh_process(
    adjoint: str, steps: int, arguments: argparse.Namespace
) -> Measurement:
    """Run this file again for one measurement."""
    command = [sys.executable, __file__, "--measure", adjoint, str(steps)]
    command += ["--tasks-at-once", str(arguments.tasks_at_once)]
    command += ["--threads", str(arguments.threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    measurement: Measurement = json.loads(done.stdout)
    return measurement


def measure(adjoint: str, steps: int, arguments: argparse.Namespace) -> Measurement:
    """Compute two meta-gradients; return the CPU seconds of each, and the peak memory in MiB."""
    import torch
    from torch.nn import functional as F

    from metaloop.algorithms import maml
    from metaloop.episode import Episode, Examples
    from metaloop.inner_loop import Objective
    from metaloop.meta_gradient import meta_gradient
    from metaloop.models import Conv4

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    def examples(each: int) -> Examples:
        targets = torch.arange(WAYS).repeat_interleave(each).expand(TASKS, -1)
        return Examples(torch.rand(*targets.shape, *IMAGE), targets)

    episodes = Episode(examples(SHOTS), examples(QUERIES), torch.arange(WAYS).expand(TASKS, -1))
    model = Conv4(IMAGE, WAYS, filters=64, downsample="max_pool")
    algorithm = maml(
        Objective(model=model, loss=F.cross_entropy),
        inner_lr=INNER_LR,
        inner_steps=steps,
        eval_inner_steps=steps,
        adjoint=adjoint,
    )
    theta = algorithm.objective.meta_parameters()

    def seconds() -> float:
        start = time.process_time()
        meta_gradient(algorithm, theta, episodes, tasks_at_once=arguments.tasks_at_once)
        return time.process_time() - start

    baseline = peak()
    first, second = seconds(), seconds()
    return {
        "first_seconds": first,
        "seconds": second,
        "peak_mib": peak(),
        "above_baseline_mib": peak() - baseline,
    }


def peak() -> float:
    """Return the largest resident set of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / UNITS_PER_MEBIBYTE


def tables(parts: Mapping[str, Part]) -> str:
    """Make the table of medians, the ratios that judge recomputing, and how it was made."""
    (part,) = parts.values()
    lines = [
        "| adjoint | inner steps | CPU seconds a meta-gradient | the process's first "
        "| peak memory, MiB | without torch, model, data |",
        "|---|---|---|---|---|---|",
    ]
    values: dict[tuple[str, int, str], float] = {}
    for row in part["rows"]:
        at = row["adjoint"], row["inner_steps"]
        found = {key: statistics.median(one[key] for one in row["each"]) for key in QUANTITIES}
        values |= {(*at, key): value for key, value in found.items()}
        cells = [f"{found[key]:.{digits}f}" for key, digits in QUANTITIES.items()]
        lines.append(f"| `{at[0]}` | {at[1]} | {' | '.join(cells)} |")
    few, many = sorted({row["inner_steps"] for row in part["rows"]})

    def ratio(quantity: str, above: str, below: str, steps: int) -> str:
        return f"{values[above, many, quantity] / values[below, steps, quantity]:.2f}"

    told = (
        f"{many} recomputed steps take {ratio('peak_mib', 'recomputed', 'recomputed', few)} times "
        f"the memory of {few}, and {ratio('seconds', 'recomputed', 'unrolled', many)} times the "
        "time of unrolled ones "
        f"({ratio('first_seconds', 'recomputed', 'unrolled', many)} in a process's first, where "
        "unrolled still has to fetch its memory)."
    )
    return "\n".join([*lines, "", told, "", how_made(part["made"])])


if __name__ == "__main__":
    main()
