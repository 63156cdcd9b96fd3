"""Measure the data path alone: meta-batches per second, and the bottleneck.

    python benchmarks/loader.py --data-dir DATA --out loader

Omniglot 5-way 1-shot with one query per class, 32 tasks per meta-batch: episodes are drawn, and
their images gathered as uint8 and turned, without Trainer or model. Without --data-dir, images of
noise in the same number and size replace Omniglot's. Each figure is the median over the repeats.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from record import Part, how_made, made, save

from metaloop.tasks import ImageClasses, Omniglot, store_arrays
from metaloop.training.datamodule import EpisodicDataModule, MetaBatch

TASKS = 32
DRAWING, GATHERING = "drawing", "gathering and turning"
EPISODE = {"ways": 5, "shots": 1, "queries": 1, "rotations": True}


def main() -> None:
    """Measure each step and the whole, and print one table."""
    arguments = parse()
    torch.set_num_threads(1)
    task = omniglot(arguments.data_dir) if arguments.data_dir else noise()
    drawn = list(batches(task, 0, 64))
    works: dict[str, Callable[[int], Iterator[object]]] = {
        DRAWING: lambda n: batches(task, 0, n),
        GATHERING: lambda n: gather(task, (drawn[i % 64] for i in range(n))),
        "both, one process": lambda n: gather(task, batches(task, 0, n)),
        "both, a worker draws": lambda n: gather(task, batches(task, 1, n)),
        "both and conversion to float32": lambda n: convert(task, batches(task, 0, n)),
    }
    found = {}
    for name, work in works.items():
        speeds = [speed(work, arguments.count) for _ in range(arguments.repeats)]
        wall, cpu = zip(*speeds, strict=True)
        found[name] = {"a_second": wall, "a_cpu_second": cpu}
    images = "Omniglot" if arguments.data_dir else "noise"
    parts = {images: {"made": made(1), "meta_batches": found}}
    print(tables(parts))
    if arguments.out:
        save(parts, tables(parts), arguments.out)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="Omniglot's two archives")
    parser.add_argument("--count", type=int, default=2000, help="meta-batches per repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md")
    return parser.parse_args()


def omniglot(data_dir: Path) -> Omniglot:
    """Load the real drawings."""
    task = Omniglot(
        **EPISODE,
        split="finn2017",
        split_seed=1,
        image_size=28,
        storage="memory",
        data_dir=str(data_dir),
        cache_dir=os.environ.get("METALOOP_CACHE", "~/.cache/metaloop"),
        source_url="",
    )
    task.prepare()
    task.setup()
    return task


def noise() -> ImageClasses:
    """Make the same number of images of the same size from noise."""
    images = np.random.default_rng(0).integers(0, 256, (1623, 20, 1, 28, 28), dtype=np.uint8)
    task = ImageClasses(**EPISODE)
    splits = {"train": range(1100), "validation": range(1100, 1200), "test": range(1200, 1623)}
    task.open_images(store_arrays(list(images)), splits)
    return task


def batches(task: ImageClasses, workers: int, count: int) -> Iterator[MetaBatch]:
    """Yield the first meta-batches of training, as Lightning's Trainer would get them."""
    data = EpisodicDataModule(task, seed=0, meta_batch_size=TASKS, workers=workers)
    return islice(iter(data.train_dataloader()), count)


def gather(task: ImageClasses, stream: Iterable[MetaBatch]) -> Iterator[object]:
    """Gather and turn each meta-batch's images."""
    for batch in stream:
        yield task.gather_pixels(batch.episodes)


def convert(task: ImageClasses, stream: Iterable[MetaBatch]) -> Iterator[object]:
    """Convert each meta-batch to the episodes that training sees."""
    for batch in stream:
        yield task.gather(batch.episodes, torch.float32)


def speed(work: Callable[[int], Iterator[object]], count: int) -> tuple[float, float]:
    """Measure meta-batches per second of wall time and of this process's CPU time.

    The clocks start after a tenth of them, to exclude starting a worker. On a machine with other
    work, compare the second value.
    """
    clocks = (time.perf_counter, time.process_time)
    first = count // 10
    for number, _ in enumerate(work(first + count)):
        if number == first:
            start = [clock() for clock in clocks]
    wall, cpu = (
        (count - 1) / (clock() - before) for clock, before in zip(clocks, start, strict=True)
    )
    return wall, cpu


def tables(parts: Mapping[str, Part]) -> str:
    """Make the table, the bottleneck of one process, and how it was made."""
    (part,) = parts.values()
    lines = [
        "| meta-batches | a second (slowest to fastest) | a CPU second | us of CPU time each |",
        "|---|---|---|---|",
    ]
    cost = {}
    for name, found in part["meta_batches"].items():
        wall, cpu = found["a_second"], statistics.median(found["a_cpu_second"])
        cost[name] = 1e6 / cpu
        spread = f"{statistics.median(wall):,.0f} ({min(wall):,.0f} to {max(wall):,.0f})"
        lines.append(f"| {name} | {spread} | {cpu:,.0f} | {cost[name]:.0f} |")
    both = {name: cost[name] for name in (DRAWING, GATHERING)}
    slower = max(both, key=both.__getitem__)
    told = f"Of one process the bottleneck is {slower} ({both[slower] / sum(both.values()):.0%})."
    return "\n".join([*lines, "", told, "", how_made(part["made"])])


if __name__ == "__main__":
    main()
