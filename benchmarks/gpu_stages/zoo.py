"""The stage `conformance`: layers and networks for which a GPU has kernels of its own.

Every network of the tests' zoo must run in the way that is listed there, and have the meta-gradient
that a processor computes in float64, by a loop over the tasks in plain autograd. Whole networks
must have it vectorised.
"""

from functools import cache, partial
from typing import NamedTuple

import torch
from conformance import ADJOINTS, learner, networks
from torch import Tensor
from torch.utils._pytree import tree_map
from whole.networks import WHOLE

from gpu_stages.errors import all_within
from gpu_stages.record import Outcome, Record, Setting
from gpu_stages.reference import PRECISIONS, computing_as_a_run, norm
from metaloop.algorithms import Algorithm
from metaloop.episode import Episode
from metaloop.errors import UserError
from metaloop.meta_gradient import AtOnce, meta_gradient, preflight_check
from metaloop.meta_gradient.meta_gradient import Gradient
from metaloop.meta_gradient.preflight.purity import draws_now
from metaloop.meta_gradient.preflight.trial import make_trial
from metaloop.meta_gradient.preflight.ways import plain_meta_gradient
from tests.zoo import NETWORKS, TABLES, layers, sequences, way_listed

PRECISE = "float64"  # in which the way is checked too
WHOLE_NETWORKS, OPERATIONS = "whole networks", "operations and habits"
# the others magnify rounding (few examples, grid_sample's kinks), or take no bfloat16 on CUDA
IN_PRECISIONS = {WHOLE_NETWORKS: (PRECISE,), OPERATIONS: (PRECISE,)}
RECURRENT = ("LSTM", "GRU", "RNN")
TASKS_AT_ONCE = {"vectorised": "all", "task by task": 1}


class Reference(NamedTuple):
    """How the zoo lists a network, and its gradient, unless it is refused or draws numbers."""

    way: str
    gradient: Gradient | None


def conformance(setting: Setting, record: Record) -> None:
    """Recurrent layers, attention, every other network of the zoo: as on a processor."""
    for group, names in groups().items():
        chosen = names[:2] if setting.tiny else names
        for precision in IN_PRECISIONS.get(group, (PRECISE, "float32", "bf16")):
            item = partial(compare, chosen, precision, setting, record)
            record.item(f"{group}, {precision}", item)


def groups() -> dict[str, list[str]]:
    """Names of networks, those whose kernels differ most from a processor's first."""
    kinds = ("recurrent layers", "attention", "layers", OPERATIONS)
    found: dict[str, list[str]] = {kind: [] for kind in kinds}
    of_layers = (layers.VECTOR, layers.SIGNAL, layers.IMAGE, layers.VOLUME, sequences.TOKENS)
    for _, table in TABLES:
        for name in table:
            if any(kind in name for kind in RECURRENT):
                kind = "recurrent layers"
            elif table is sequences.SEQUENCE:
                kind = "attention"
            else:
                is_layer = any(table is one for one in of_layers)
                kind = "layers" if is_layer else OPERATIONS
            found[kind].append(name)
    return found | {WHOLE_NETWORKS: list(WHOLE)}


def compare(names: list[str], precision: str, setting: Setting, record: Record) -> Outcome:
    """Errors of networks with both adjoints, a share of the norm; or how they are listed."""
    measures = {
        f"{name}, {adjoint}": partial(error_of, name, adjoint, precision, setting.device)
        for name in names
        for adjoint in ADJOINTS
    }
    with computing_as_a_run(PRECISIONS[precision], setting):
        return all_within(PRECISIONS[precision].tolerance, measures, record)


def error_of(name: str, adjoint: str, precision: str, device: str) -> float | str:
    """The distance from the processor's meta-gradient; without one, how the network is listed."""
    expected = reference(name, adjoint)
    if precision == PRECISE and name in NETWORKS:
        way = way_there(name, adjoint, device)
        if way != expected.way:
            raise RuntimeError(f"it is {way}, and listed as {expected.way}")
    if expected.gradient is None:
        return expected.way
    algorithm, tasks = make(name, adjoint)
    dtype = PRECISIONS[precision].dtype
    algorithm.objective.model.to(device, dtype)

    def there(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else None)

    tasks, meta = tree_map(there, tasks), algorithm.objective.meta_parameters()
    at_once = TASKS_AT_ONCE[expected.way]
    found, _ = meta_gradient(algorithm, meta, tasks, tasks_at_once=at_once)
    off = {n: found[n].cpu().double() - g for n, g in expected.gradient.items()}
    return norm(off) / norm(expected.gradient)


@cache
def reference(name: str, adjoint: str) -> Reference:
    """What a processor computes."""
    if way_listed(name, adjoint, draws=False) == "refused":
        return Reference("refused", None)
    with torch.autocast("cpu", enabled=False):
        algorithm, tasks = make(name, adjoint)
        meta = algorithm.objective.meta_parameters()
        trial = make_trial(algorithm, meta, tasks, torch.float64)
        draws = draws_now(trial)
        way = way_listed(name, adjoint, draws=draws)
        return Reference(way, None if draws else plain_meta_gradient(trial))


def make(name: str, adjoint: str) -> tuple[Algorithm, Episode]:
    """MAML with two inner steps for a network, in float32 on a processor, and two tasks."""
    ((_, make_network),) = networks([name])
    with torch.autocast("cpu", enabled=False):  # it is called once to find its width
        model, tasks = make_network()
    return learner(model, adjoint), tasks


def way_there(name: str, adjoint: str, device: str) -> str:
    """The way that the check before the first step finds on a device."""
    try:
        algorithm, tasks = make(name, adjoint)
        algorithm.objective.model.to(device)
        tasks = tree_map(lambda t: t.to(device), tasks)
        at_once = AtOnce(tasks_at_once="all", chunks_at_once=1)
        meta = algorithm.objective.meta_parameters()
        verdict = preflight_check(algorithm, meta, tasks, at_once)
    except UserError:
        return "refused"
    return "task by task" if verdict.at_once["tasks_at_once"] == 1 else "vectorised"
