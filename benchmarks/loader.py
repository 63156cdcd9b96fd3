"""Measure the data path alone: meta-batches per second, and the bottleneck.

    python benchmarks/loader.py --data-dir DATA --out loader.json

Omniglot 5-way 1-shot with one query per class, 32 tasks per meta-batch: episodes are drawn, and
their images gathered as uint8 and turned, without Trainer or model. Without --data-dir, images of
noise in the same number and size replace Omniglot's. Each figure is the median over the repeats.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from metaloop.tasks import ImageClasses, Omniglot, store_arrays
from metaloop.training.datamodule import EpisodicDataModule, MetaBatch

TASKS = 32
EPISODE = {"ways": 5, "shots": 1, "queries": 1, "rotations": True}
AT_LEAST, AIM = 500, 2000  # meta-batches per second


def main() -> None:
    """Measure each part and the whole, and print one table."""
    arguments = parse()
    torch.set_num_threads(1)
    task = omniglot(arguments.data_dir) if arguments.data_dir else noise()
    drawn = list(batches(task, 0, 64))
    parts: dict[str, Callable[[int], Iterator[object]]] = {
        "drawing": lambda n: batches(task, 0, n),
        "gathering and turning": lambda n: gather(task, (drawn[i % 64] for i in range(n))),
        "both, one process": lambda n: gather(task, batches(task, 0, n)),
        "both, a worker draws": lambda n: gather(task, batches(task, 1, n)),
        "both and conversion to float32": lambda n: convert(task, batches(task, 0, n)),
    }
    found = {}
    print(f"{'meta-batches':32} {'per second':>10} {'slowest, fastest':>18} {'per CPU second':>14}")
    for name, work in parts.items():
        speeds = [speed(work, arguments.count) for _ in range(arguments.repeats)]
        wall, cpu = zip(*speeds, strict=True)
        found[name] = {"a_second": wall, "a_cpu_second": cpu}
        print(
            f"{name:32} {statistics.median(wall):10.0f} {f'{min(wall):.0f}, {max(wall):.0f}':>18} "
            f"{statistics.median(cpu):14.0f}"
        )
    report(found)
    if arguments.out:
        arguments.out.write_text(json.dumps({"meta_batches_a_second": found}, indent=1))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="Omniglot's two archives")
    parser.add_argument("--count", type=int, default=2000, help="meta-batches per repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a JSON file for all values")
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


def report(found: dict[str, dict[str, tuple[float, ...]]]) -> None:
    """Print the bottleneck, and whether the whole is fast enough."""
    cost = {n: 1e6 / statistics.median(of["a_cpu_second"]) for n, of in found.items()}
    draw, gathering = cost["drawing"], cost["gathering and turning"]
    larger, what = max((gathering, "gathering and turning"), (draw, "drawing"))
    best = max(statistics.median(of["a_second"]) for n, of in found.items() if "both, " in n)
    print(
        f"\nCPU time of one process per meta-batch: drawing {draw:.0f} us, gathering and turning "
        f"{gathering:.0f} us; the bottleneck is {what} ({larger / (draw + gathering):.0%}).\n"
        f"Fastest: {best:.0f} per second; required {AT_LEAST}, goal {AIM}. "
        f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}."
    )


if __name__ == "__main__":
    main()
