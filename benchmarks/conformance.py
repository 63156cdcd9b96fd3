"""Find which layers, functions and networks have an exact meta-gradient, in torch and in metaloop.

    python benchmarks/conformance.py --out benchmarks/records/conformance

For every layer of torch.nn, the operations and habits in the tests' zoo, and whole networks of
torchvision, timm and transformers if installed: the meta-gradient of MAML with two inner steps on
two tasks in float64, with each adjoint, vectorised and task by task; once with torch's functions,
and once with metaloop's substitutes. Errors are relative to plain autograd, task by task, whose
second derivative is first compared with finite differences.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from unittest.mock import patch

import torch
from record import Part, how_made, made, read, save
from rich.console import Console
from torch import nn
from torch.nn import functional as F
from whole.networks import WHOLE, inputs

from metaloop.algorithms import GradientBased, maml
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.inner_loop import Objective
from metaloop.meta_gradient import AtOnce, CompiledChunkGradient, meta_gradient, preflight_check
from metaloop.meta_gradient.preflight.cause import first_line, in_words
from metaloop.meta_gradient.preflight.trial import Trial, make_trial, set_modes, without_dropout
from metaloop.meta_gradient.preflight.verdict import Tried
from metaloop.meta_gradient.preflight.ways import (
    ONE_BY_ONE,
    VECTORISED,
    distance,
    plain_meta_gradient,
    try_way,
)
from metaloop.substitutes import Substitutes

sys.path.append(str(Path(__file__).resolve().parents[1]))  # the networks are in the tests' zoo
from tests.zoo import NETWORKS
from tests.zoo.network import OUTPUTS, WithHead, episodes

ADJOINTS = ("unrolled", "recomputed")
TASKS, ROWS = 2, 4
EXACT = 1e-9
Make = Callable[[], tuple[nn.Module, Episode]]


@dataclass(frozen=True)
class Row:
    """Results of one network with one adjoint: an error, or the reason why there is none."""

    network: str
    adjoint: str
    torch_vectorised: float | str
    torch_one_by_one: float | str
    vectorised: float | str
    one_by_one: float | str
    compiled: float | str = ""


def main() -> None:
    """Measure every row, print the table, and save it."""
    arguments = parse()
    warnings.simplefilter("ignore")  # torch's, about hooks and deprecated layers
    parts: dict[str, Part] = {}
    console = Console(stderr=True)
    for name, make in networks(arguments.only):
        with console.status(name):
            rows = [measure(name, make, a, arguments.compile) for a in arguments.adjoints]
        parts[name] = {"made": made(torch.get_num_threads()), "rows": [*map(asdict, rows)]}
        if arguments.out:  # after each one, in case of an interruption
            kept = read(arguments.out) | parts
            save(kept, tables(kept), arguments.out)
    print(tables(parts))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", help="only these networks")
    parser.add_argument("--adjoints", nargs="+", choices=ADJOINTS, default=ADJOINTS)
    parser.add_argument("--compile", action="store_true", help="also compile; half a minute each")
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md, or adds to them")
    return parser.parse_args()


def networks(only: list[str] | None) -> Iterator[tuple[str, Make]]:
    """Yield every network of the zoo, and the whole ones."""

    def of_zoo(name: str) -> tuple[nn.Module, Episode]:
        kind, make = NETWORKS[name]
        return WithHead(make, kind), episodes(kind)

    def whole(name: str) -> tuple[nn.Module, Episode]:
        shape, make = WHOLE[name]
        torch.manual_seed(0)
        model, x = make(), inputs(shape, TASKS, 2 * ROWS)
        y = torch.randn(TASKS, 2 * ROWS, OUTPUTS, generator=torch.Generator().manual_seed(2))
        parts = [Examples(x[:, s], y[:, s]) for s in (slice(ROWS), slice(ROWS, None))]
        return model, Episode(parts[0], parts[1], torch.zeros(TASKS, 0))

    for names, make in ((NETWORKS, of_zoo), (WHOLE, whole)):
        for name in names:
            if only is None or name in only:
                yield name, lambda name=name, make=make: make(name)


def measure(name: str, make: Make, adjoint: str, compiles: bool) -> Row:
    """Compare one network's ways with plain autograd, with and without substitutes."""
    empty = Row(name, adjoint, "", "", "", "")
    try:
        model, tasks = make()
        algorithm = learner(model.train(), adjoint)
    except ImportError as error:
        return replace(empty, vectorised=f"left out: {error.name} is not installed")
    except UserError as error:
        return replace(empty, vectorised=f"refused: {error}")
    meta = algorithm.objective.meta_parameters()
    at_once = AtOnce(tasks_at_once="all", chunks_at_once=1)
    as_torch = errors_of_torch(make_trial(algorithm, meta, tasks, torch.float64))
    row = replace(empty, torch_vectorised=as_torch[0], torch_one_by_one=as_torch[1])
    try:
        verdict = preflight_check(algorithm, meta, tasks, at_once)
    except UserError as error:  # the reference is unreliable then
        return replace(empty, vectorised=f"refused: {error}")
    found = {one.way: result(one) for one in verdict.tried}
    row = replace(row, vectorised=found[VECTORISED], one_by_one=found[ONE_BY_ONE])
    if compiles:
        row = replace(
            row, compiled=error_compiled(make_trial(algorithm, meta, tasks, torch.float64))
        )
    return row


def learner(model: nn.Module, adjoint: str) -> GradientBased:
    """MAML with two inner steps for a network."""
    objective = Objective(model=model, loss=F.mse_loss)
    steps = {"inner_steps": 2, "eval_inner_steps": 2}
    return maml(objective, inner_lr=0.05, **steps, adjoint=adjoint)


def errors_of_torch(trial: Trial) -> list[float | str]:
    """Compute errors with torch's functions; the reference uses the substitutes."""
    set_modes(trial.model, None)
    with without_dropout(trial.model):  # masks would differ
        try:
            plain = plain_meta_gradient(trial)
        except UserError:  # refused in any case
            return ["", ""]
        except Exception as error:
            return [f"fails: {in_words(error)}"] * 2
        with without_substitutes():
            return [
                result(try_way(trial, way, plain, torch.float64))
                for way in (VECTORISED, ONE_BY_ONE)
            ]


@contextmanager
def without_substitutes() -> Iterator[None]:
    """Use torch's functions inside."""

    def pass_through(mode, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN202, ARG001
        return func(*args, **(kwargs or {}))

    with patch.object(Substitutes, "__torch_function__", pass_through):
        yield


def error_compiled(trial: Trial) -> float | str:
    """Compute the error of the compiled meta-gradient."""
    set_modes(trial.model, None)
    of_chunk = CompiledChunkGradient()
    plain = plain_meta_gradient(trial)
    found, _ = meta_gradient(trial.algorithm, trial.meta, trial.tasks, of_chunk=of_chunk)
    return distance(found, plain) if of_chunk.is_used else "stays eager"


def result(one: Tried) -> float | str:
    """Return the error, or the reason why it is not exact."""
    return one.reason if one.error is None or "rounding" in one.reason else one.error


def tables(parts: Mapping[str, Part]) -> str:
    """Make the table of all networks, and say how it was made."""
    rows = [Row(**row) for part in parts.values() for row in part["rows"]]
    how = dict.fromkeys(how_made(part["made"]) for part in parts.values())
    return "\n\n".join([table(rows), *how])


def table(rows: list[Row]) -> str:
    """Make a Markdown table with one line per network and adjoint."""
    lines = [
        "| network | adjoint | torch, vectorised | torch, task by task | metaloop, vectorised "
        "| metaloop, task by task |",
        "|---|---|---|---|---|---|",
    ]
    if any(row.compiled for row in rows):
        lines = [lines[0] + " compiled |", lines[1] + "---|"]
    for row in rows:
        cells = [*(cell(v) for v in list(asdict(row).values())[:6])]
        cells += [cell(row.compiled)] if len(lines[1].split("|")) > 8 else []
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(value: float | str) -> str:
    """Format a cell: exact, the error, or the start of a reason."""
    if isinstance(value, float):
        return "exact" if value <= EXACT else f"off by {value:.0e}"
    words = first_line(RuntimeError(value)) if value else "-"
    return (words if len(words) <= 160 else f"{words[:157]}...").replace("|", "\\|")


if __name__ == "__main__":
    main()
