"""Count the memory of a task whose adapters adapt, and of one whose whole network does.

    python benchmarks/adapter_memory.py --out benchmarks/records/adapter_memory

A task's state is the parameters that adapt to it. What a further task takes is the growth of the
peak of a meta-gradient, all tasks at once, over the live tensors counted after every operation:
MAML with one inner step on an encoder of two of torch's layers, float32.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from record import Part, how_made, made, save
from speed.transformer import learned, make_network
from torch import nn
from torch.nn import functional as F

from metaloop.algorithms import maml
from metaloop.episode import Episode, Examples
from metaloop.inner_loop import Objective
from metaloop.meta_gradient import meta_gradient

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the counter is the tests'
from tests.peak import Peak

WIDTH, LAYERS, ROWS, LENGTH = 256, 2, 5, 16
RANKS = (None, 16, 4, 1)  # None: everything adapts
TASKS = (4, 8)


def main() -> None:
    """Count for every rank, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md")
    arguments = parser.parse_args()
    rows = []
    for rank in RANKS:
        network = make_network(LAYERS, rank, WIDTH)
        few, many = (peak(network, tasks) for tasks in TASKS)
        state = sum(p.nbytes for p in learned(network)[0].values())
        a_task = (many - few) / (TASKS[1] - TASKS[0])
        rows.append({"rank": rank, "state_bytes": state, "bytes_of_a_task": a_task})
    network_bytes = sum(p.nbytes for p in make_network(LAYERS, None, WIDTH).parameters())
    how = made(torch.get_num_threads())
    parts = {"encoder": {"made": how, "network_bytes": network_bytes, "rows": rows}}
    print(tables(parts))
    if arguments.out:
        save(parts, tables(parts), arguments.out)


def peak(network: nn.Module, tasks: int) -> int:
    """Return the largest number of bytes that live tensors take in a meta-gradient."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(tasks, ROWS, *shape, generator=generator)

    support, query = (Examples(draw(LENGTH, WIDTH), draw(1)) for _ in range(2))
    objective = Objective(model=network, loss=F.mse_loss)
    values = {"inner_lr": 0.01, "inner_steps": 1, "eval_inner_steps": 1}
    algorithm = maml(objective, **values, adjoint="unrolled")
    with Peak() as counted:
        meta = objective.meta_parameters()
        meta_gradient(algorithm, meta, Episode(support, query, torch.zeros(tasks, 0)))
    return counted.largest


def tables(parts: Mapping[str, Part]) -> str:
    """Make the table, and say how it was made."""
    (part,) = parts.values()
    lines = [
        f"An encoder of width {WIDTH}, {part['network_bytes'] / 2**20:.1f} MiB; {ROWS} sequences "
        f"of {LENGTH} a task:",
        "",
        "| what adapts | a task's state, KiB | what a further task takes at the peak, MiB |",
        "|---|---|---|",
    ]
    for row in part["rows"]:
        what = "everything" if row["rank"] is None else f"rank {row['rank']}"
        state, a_task = row["state_bytes"] / 2**10, row["bytes_of_a_task"] / 2**20
        lines.append(f"| {what} | {state:,.0f} | {a_task:.1f} |")
    return "\n".join([*lines, "", how_made(part["made"])])


if __name__ == "__main__":
    main()
