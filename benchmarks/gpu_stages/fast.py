"""The stage `fast`: a meta-step by metaloop and by others on the same card, and its memory."""

import gc
import os
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from adjoint_memory import IMAGE, INNER_LR, QUERIES, SHOTS, WAYS
from against_peers import require_same, turn
from speed.jax_peer import jax_step
from speed.ours import bare_step
from speed.peers import PEERS, plain_loop
from speed.work import WORKS, Step
from torch.nn import functional as F

from gpu_stages import torchbench
from gpu_stages.record import Outcome, Record, Setting, Values, error_line, failed, passed
from gpu_stages.ways import EAGER, RECORDED, WAYS as OUR_WAYS, first_call, why_not
from metaloop.algorithms import maml
from metaloop.episode import Episode, Examples
from metaloop.inner_loop import Objective
from metaloop.meta_gradient import meta_gradient
from metaloop.models import Conv4
from metaloop.process.products import keep_rounding, round_products
from tests.peak import Peak

# two gradients through ReLU and max-pooling, a share of the norm
ROUNDING = {"float32": 2e-2, "TF32": 0.1}
GOAL = 0.5  # of the time of TorchBench's own way


class Contestant(NamedTuple):
    """Who takes the step, and in which way of metaloop's."""

    make: Callable[[], Step]
    way: str = EAGER


def fast(setting: Setting, record: Record) -> None:
    """The Omniglot step against the peers, TorchBench's work, memory of the adjoints."""
    # JAX as torch is here: no TF32, and memory only as it is needed
    os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # TF32 in convolutions is what torch does by default, so what TorchBench measures
    torchbench_item = "TorchBench functorch_maml_omniglot"
    record.item("Omniglot 5-way 1-shot, one step", lambda: omniglot_step(setting))
    record.item(f"{torchbench_item}, TF32", lambda: torchbench_work("TF32", setting))
    record.item("memory of recomputed and unrolled", lambda: adjoint_memory(setting))
    record.item(f"{torchbench_item}, float32", lambda: torchbench_work("float32", setting))


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Compute float32 products and convolutions in float32 or TF32, whatever is torch's default."""
    with keep_rounding():
        round_products("high" if precision == "TF32" else "highest")
        yield


def torchbench_work(precision: str, setting: Setting) -> Outcome:
    """Seconds a step of its own way and of ours; the goal is half of its time."""
    size = torchbench.Size(setting.device, *((2, 4) if setting.tiny else (32, 64)))
    contestants = {  # compiled once, for minutes
        f"metaloop, {way}": Contestant(partial(torchbench.ours, size, way), way)
        for way in (EAGER, RECORDED)
    }
    base, own = "TorchBench's own way", torchbench.own_way(size)
    with products(precision):
        expected = torchbench.task_by_task(size)
        its_own = [gradient / size.tasks for gradient in own()]
        values, wrong = contest(base, own, expected, contestants, setting, ROUNDING[precision])
    values["its own gradient is off by"] = distance(its_own, expected)
    medians = values["seconds"]
    assert isinstance(medians, dict)
    ours = [seconds for who, seconds in medians.items() if who != base]
    is_reached = bool(ours) and min(ours) <= GOAL * medians[base]
    values["at most half of its own way's time"] = is_reached
    if setting.device == "cuda" and not is_reached:
        wrong.append("more than half of its own way's time")
    return failed("; ".join(wrong), values) if wrong else passed(values)


def distance(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """A share of the norm; torch's batch norm under vmap is not exact in the second order."""
    squares = [(f - g).square().sum() for f, g in zip(found, expected, strict=True)]
    return float((sum(squares) / sum(g.square().sum() for g in expected)).sqrt())


def omniglot_step(setting: Setting) -> Outcome:
    """Seconds a step of everybody who is installed, the plain loop's = 1."""
    work = replace(WORKS["omniglot_1"], device=setting.device)
    if setting.tiny:
        work = replace(work, tasks=2, width=4)
    contestants = {
        f"metaloop, {way}": Contestant(partial(bare_step, work, compile=way != EAGER), way)
        for way in OUR_WAYS
    }
    others = {**PEERS, "JAX": jax_step}
    contestants |= {
        who: Contestant(partial(make, work)) for who, make in others.items() if who != "plain loop"
    }
    with products("float32"):
        plain = plain_loop(work)
        expected = [gradient.clone() for gradient in plain()]
        values, wrong = contest(
            "plain loop", plain, expected, contestants, setting, ROUNDING["float32"]
        )
    return failed("; ".join(wrong), values) if wrong else passed(values)


def contest(
    base: str,
    base_step: Step,
    expected: list[torch.Tensor],
    contestants: Mapping[str, Contestant],
    setting: Setting,
    rounding: float,
) -> tuple[Values, list[str]]:
    """Time everybody in turns, whose first gradient is the expected one.

    Returns:
        The median seconds, their ratios to the base's, who is missing; and who failed.

    """
    steps, missing, wrong = {base: base_step}, {}, []
    for who, contestant in contestants.items():
        reason = why_not(contestant.way, setting)
        if setting.tiny and contestant.way != EAGER:
            reason = reason or "a rehearsal compiles in the stage `right` alone"
        if reason is not None:
            missing[who] = reason
            continue
        try:
            step = contestant.make()
            with first_call(contestant.way):
                require_same(who, step(), expected, rounding)
        except ImportError as error:
            missing[who] = error_line(error)
        except (Exception, SystemExit) as error:
            wrong.append(f"{who}: {error_line(error)}")
        else:
            steps[who] = step
    rounds, seconds = (1, 0.01) if setting.tiny else (5, 0.5)
    times: dict[str, list[float]] = {who: [] for who in steps}
    for _ in range(rounds):
        for who, step in steps.items():
            times[who].append(turn(step, seconds))
    medians = {who: statistics.median(values) for who, values in times.items()}
    ratios = {who: median / medians[base] for who, median in medians.items()}
    values: Values = {"seconds": medians, f"time, {base} = 1": ratios, "missing": missing}
    return values | {"seconds of every round": times}, wrong


def adjoint_memory(setting: Setting) -> Outcome:
    """Bytes beyond what is there before, of 1 and of 20 inner steps on Conv4."""
    tasks, filters, many = (1, 4, 3) if setting.tiny else (32, 64, 20)

    def examples(each: int) -> Examples:
        targets = torch.arange(WAYS, device=setting.device).repeat_interleave(each)
        targets = targets.expand(tasks, -1)
        return Examples(torch.rand(*targets.shape, *IMAGE, device=setting.device), targets)

    episodes = Episode(examples(SHOTS), examples(QUERIES), torch.zeros(tasks, WAYS))
    model = Conv4(IMAGE, WAYS, filters=filters, downsample="max_pool").to(setting.device)
    found: dict[str, int] = {}
    for adjoint in ("unrolled", "recomputed"):
        for steps in (1, many):
            algorithm = maml(
                Objective(model=model, loss=F.cross_entropy),
                inner_lr=INNER_LR,
                inner_steps=steps,
                eval_inner_steps=steps,
                adjoint=adjoint,
            )
            theta = {n: p.detach() for n, p in model.named_parameters()}
            call = partial(meta_gradient, algorithm, theta, episodes)
            found[f"{adjoint}, {steps} steps"] = peak(call, setting.device)
    ratio = found[f"recomputed, {many} steps"] / found[f"unrolled, {many} steps"]
    values: Values = {"bytes": found, "tasks": tasks, "recomputed / unrolled": ratio}
    return passed(values) if ratio < 1 else failed("recomputed takes more", values)


def peak(call: Callable[[], object], device: str) -> int:
    """The most bytes at once that a call's tensors take beyond those there before."""
    if device == "cpu":
        with Peak() as counted:
            call()
        return counted.largest
    call()  # the libraries' workspaces
    gc.collect()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
