"""Compare the numbers in two run folders, bit for bit."""

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

SHOWN = 3  # printed differences per file
COST = ("episodes_per_second", "memory_mb")  # columns that describe a run's cost, not its results
Values = dict[str, object]


class Difference(NamedTuple):
    """One value or tensor in which two runs differ."""

    file: str
    key: str
    before: str
    after: str
    relative: float | None = None  # largest relative difference, for numbers

    def __str__(self) -> str:
        size = "" if self.relative is None else f" (relative difference {self.relative:.1e})"
        return f"{self.file}, {self.key}: {self.before} -> {self.after}{size}"


def compare(before: Path, after: Path) -> list[Difference]:
    """Compare the numbers in two run folders."""
    found = []
    for file, read in FILES.items():
        exists = [(folder / file).is_file() for folder in (before, after)]
        if all(exists):
            found += find_differences(file, read(before / file), read(after / file))
        elif any(exists) or file not in OPTIONAL:
            a, b = ("there" if it_does else "missing" for it_does in exists)
            found.append(Difference(file, "the file", a, b))
    return found


def read_checkpoint(path: Path) -> Values:
    """Read weights, and the states of optimizers and schedulers."""
    content = torch.load(path, weights_only=True)
    parts = ("global_step", "state_dict", "optimizer_states", "lr_schedulers")
    return flatten({name: content[name] for name in parts if name in content})


def read_table(path: Path) -> Values:
    """Read every cell of a CSV file, without columns of time and memory."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        f"line {number}, {column}": cell
        for number, row in enumerate(rows, 2)
        for column, cell in row.items()
        if column.rpartition("/")[2] not in COST
    }


def read_results(path: Path) -> Values:
    """Read results.json, without versions, overrides and names of folders."""
    content = json.loads(path.read_text())
    for name in ("versions", "overrides"):
        content.pop(name, None)
    for name in ("run", "data_dir"):
        content.get("protocol", {}).pop(name, None)
    return flatten(content)


FILES: dict[str, Callable[[Path], Values]] = {
    "metrics.csv": read_table,
    "checkpoints/last.ckpt": read_checkpoint,
    "checkpoints/best.ckpt": read_checkpoint,
    "evaluations/test/results.json": read_results,
    "evaluations/test/episodes.csv": read_table,
    "evaluations/test/confusion.csv": read_table,
}
OPTIONAL = ("evaluations/test/confusion.csv",)  # only for tasks with classes


def flatten(value: object, key: str = "") -> Values:
    """Flatten nested containers into one dict, whose keys are paths a/b/c."""
    if isinstance(value, Mapping):
        parts = list(value.items())
    elif isinstance(value, list | tuple):
        parts = list(enumerate(value))
    else:
        return {key: value}
    prefix = f"{key}/" if key else ""
    return {k: v for name, part in parts for k, v in flatten(part, f"{prefix}{name}").items()}


def find_differences(file: str, before: Values, after: Values) -> list[Difference]:
    """Compare values by key: tensors bit by bit, everything else as written."""
    found = []
    for key in dict.fromkeys([*before, *after]):
        a, b = (show(values[key]) if key in values else "missing" for values in (before, after))
        if a != b:
            found.append(Difference(file, key, a, b, relative_difference(a, b)))
            continue
        x, y = before[key], after[key]
        if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor):
            found += compare_tensors(file, key, x, y)
    return found


def show(value: object) -> str:
    """Show a tensor's dtype and shape, or the value with all digits."""
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {list(value.shape)}"
    return str(value)


def compare_tensors(file: str, key: str, a: torch.Tensor, b: torch.Tensor) -> list[Difference]:
    """Compare bits of tensors of equal dtype and shape: -0.0 differs from 0.0, nan equals nan."""
    bits = [tensor.reshape(-1, 1).view(torch.uint8) for tensor in (a, b)]
    differs = (bits[0] != bits[1]).any(1)
    if not differs.any():
        return []
    pairs = list(zip(a.flatten()[differs].tolist(), b.flatten()[differs].tolist(), strict=True))
    sizes = [relative_difference(*pair) or 0.0 for pair in pairs]
    (x, y), count = pairs[0], f"first of {len(pairs)} elements of {differs.numel()}"
    return [Difference(file, f"{key}, {count}", str(x), str(y), max(sizes))]


def relative_difference(a: str | float, b: str | float) -> float | None:
    """Compute |a - b| / max(|a|, |b|) for numbers, inf where one of them is not finite."""
    try:
        x, y = float(a), float(b)
    except ValueError:
        return None
    if not (math.isfinite(x) and math.isfinite(y)):
        return math.inf
    return abs(x - y) / (max(abs(x), abs(y)) or 1.0)


def summarize(found: Sequence[Difference]) -> list[str]:
    """List the first few differences of every file, and the largest of all."""
    lines: list[str] = []
    for file in dict.fromkeys(one.file for one in found):
        of_file = [one for one in found if one.file == file]
        lines += map(str, of_file[:SHOWN])
        if (more := len(of_file) - SHOWN) > 0:
            lines.append(f"{file}: {more} more")
    numbers = [one for one in found if one.relative is not None]
    if numbers:
        largest = max(numbers, key=lambda one: one.relative or 0.0)
        lines.append(f"largest relative difference: {largest}")
    return lines
