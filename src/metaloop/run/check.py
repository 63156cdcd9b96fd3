"""metaloop-train check_only=true: build a run's pieces, check them, print the findings."""

import resource

import torch
from rich.table import Table

from metaloop.errors import UserError
from metaloop.meta_gradient import Verdict, check
from metaloop.run.checkpoints.initial_weights import find_initial_weights, load_initial_weights
from metaloop.run.config.build import Pieces, build
from metaloop.run.config.run_config import RunConfig
from metaloop.tasks import Task
from metaloop.user_text import Terminal


def check_run(config: RunConfig) -> Verdict:
    """Build and check a config's pieces, and print tables; nothing is written.

    Raises:
        UserError: if a piece is at fault; it names the piece and what to change.

    """
    pieces, device = build(config), config.device
    device.require()
    learner = pieces.meta_learner
    if config.init_from is not None:
        load_initial_weights(learner, find_initial_weights(config.init_from))
    place = device.torch_device()
    learner.to(place)
    console = Terminal()
    console.print(_tabulate_pieces(pieces))
    with torch.autocast(place.type, torch.bfloat16, enabled=device.precision == "bf16-mixed"):
        try:
            verdict = check(learner.algorithm, pieces.task, seed=config.seed, **learner.at_once)
        except UserError:
            console.print("Refused.", style="bold red")
            raise
    console.print(_tabulate_ways(verdict))
    for line in (*pieces.task.introduce(), *verdict.notes, *verdict.slower):
        console.print(line)
    console.print(str(verdict), style="bold")
    return verdict


def _tabulate_pieces(pieces: Pieces) -> Table:
    algorithm, task = pieces.algorithm, pieces.task
    parameters = algorithm.objective.meta_parameters()
    frozen = sum(p.numel() for p in algorithm.objective.model.parameters() if not p.requires_grad)
    own = algorithm.own_parameters()
    adapted = sum(parameters[n].numel() for n in algorithm.names if n in parameters)
    table = Table("piece", "what it is", title="What is checked")
    rows = {
        "task": f"{type(task).__name__}, inputs {_inputs(task)}, {task.output_size} outputs",
        "model": f"{type(algorithm.objective.model).__name__}, "
        f"{sum(p.numel() for p in parameters.values()):,} learned elements, {frozen:,} frozen",
        "algorithm": ", ".join(f"{k}={v}" for k, v in algorithm.describe().items()),
        "adapts": f"{adapted:,} elements in {len(algorithm.names)} tensors: "
        f"{_first(algorithm.names)}",
        "also learned": _first(tuple(own)) or "nothing else",
    }
    for name, what in rows.items():
        table.add_row(name, what)
    return table


def _inputs(task: Task) -> str:
    """Write the shape of an input, or of each of its tensors by name."""
    named = task.input_shapes or {"": task.input_shape}
    return ", ".join(f"{name} {list(shape)}".lstrip() for name, shape in named.items())


def _tabulate_ways(verdict: Verdict) -> Table:
    table = Table(
        "way", "differs from plain autograd", "ms, two tasks", "", title="Ways to compute it"
    )
    for one in verdict.tried:
        error = "" if one.error is None else f"{one.error:.0e}"
        reason = "exact" if one.is_exact else one.reason
        table.add_row(one.way, error, f"{1e3 * one.seconds:.0f}", reason)
    if not verdict.tried:
        table.add_row("all", "", "", "only metaloop's own pieces, known to be exact")
    table.caption = f"Peak memory {_peak() / 2**20:,.0f} MiB"
    return table


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (" .." if len(names) > 4 else "")


def _peak() -> int:
    """Return the peak memory in bytes: of the GPU if there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
