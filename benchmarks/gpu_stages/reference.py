"""Compare meta-gradients with the independent reference, in every precision and way."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from gpu_stages.errors import all_within
from gpu_stages.record import Outcome, Record, Setting, skipped
from gpu_stages.ways import COMPILED, RECORDED, first_call, why_not
from metaloop.meta_gradient import CompiledChunkGradient, meta_gradient
from metaloop.process.products import keep_rounding
from metaloop.run.config.settings import Device
from metaloop.run.config.trainer import make_trainer
from tests.episodes import reference_case

AT_ONCE, ONE_BY_ONE = "vmapped", "task by task"
WAYS = (AT_ONCE, ONE_BY_ONE, COMPILED, RECORDED)
Case = tuple[str, str, str]  # network, case of the reference, adjoint
FIRST_ORDER = ("fomaml", "reptile")
# compiling takes a while, and the recomputed adjoint longest: once, where it has to be exact
TO_COMPILE = [(network, "maml", "unrolled") for network in ("mlp", "conv")]
IN_FLOAT64 = [("conv", "maml", "recomputed")]


class Precision(NamedTuple):
    """How a run computes, and the largest error, a share of the gradient's norm.

    In bfloat16 a processor is off by 0.2 at most, where the inner loop takes some ReLU or
    max-pooling the other way; TF32 has three more bits. Of the convolutional network the
    first-order gradient is 0.64 away.
    """

    dtype: torch.dtype
    matmul: str
    autocast: bool
    tolerance: float


PRECISIONS = {
    "float64": Precision(torch.float64, "highest", False, 1e-9),
    "float32": Precision(torch.float32, "highest", False, 1e-4),
    "TF32": Precision(torch.float32, "high", False, 0.1),
    "bf16": Precision(torch.float32, "highest", True, 0.3),
}


def against_reference(name: str, way: str, setting: Setting, record: Record) -> Outcome:
    """Compare all cases at one precision in one way: their errors, a share of the norm."""
    if (reason := why_not(way, setting)) is not None:
        return skipped(reason)
    if not setting.reference.is_file():
        return skipped("the reference meta-gradients are missing; name them by --reference")
    precision = PRECISIONS[name]
    with np.load(setting.reference) as file:
        arrays = dict(file)
    cases = cases_in(arrays)
    if way in (COMPILED, RECORDED):
        cases = TO_COMPILE + IN_FLOAT64 * (name == "float64")
    if setting.tiny:
        cases = [one for one in cases if one[0] == "mlp" or (one[1] == "maml" and way == AT_ONCE)]
    measures = {
        "/".join(case): partial(error_of, case, arrays, precision, way, setting.device)
        for case in cases
    }
    with computing_as_a_run(precision, setting):
        return all_within(precision.tolerance, measures, record)


def cases_in(arrays: dict[str, np.ndarray]) -> list[Case]:
    """Every case with its adjoints, but for iMAML's, which is of an exact minimum."""
    names = sorted({tuple(key.split("/")[:2]) for key in arrays if "/theta/" in key})
    return [
        (network, case, adjoint)
        for network, case in names
        if case != "imaml"
        for adjoint in (("first_order",) if case in FIRST_ORDER else ("unrolled", "recomputed"))
    ]


@contextmanager
def computing_as_a_run(precision: Precision, setting: Setting) -> Iterator[None]:
    """Set what a run sets by its device section, for products and convolutions; then undo it."""
    device = Device(
        accelerator="gpu" if setting.device == "cuda" else "cpu",
        devices=1,
        nodes=1,
        precision="32-true",
        matmul_precision=precision.matmul,
        tasks_at_once="all",
        compile=False,
        deterministic=False,
    )
    with (
        keep_rounding(),
        torch.autocast(setting.device, torch.bfloat16, enabled=precision.autocast),
    ):
        make_trainer(device, setting.folder, [])
        yield


def error_of(
    case: Case, arrays: dict[str, np.ndarray], precision: Precision, way: str, device: str
) -> float:
    """The distance from the reference, a share of its norm."""
    algorithm, meta, episodes, expected = reference_case(arrays, *case)
    algorithm.objective.model.to(device, precision.dtype)

    def there(tensor: Tensor) -> Tensor:
        return tensor.to(device, precision.dtype if tensor.is_floating_point() else None)

    meta, episodes = tree_map(there, (meta, episodes))
    of_chunk = CompiledChunkGradient() if way in (COMPILED, RECORDED) else None
    at_once = 1 if way == ONE_BY_ONE else "all"
    elsewhere = {n: 1.01 * p for n, p in meta.items()}
    with first_call(way):
        # compiled with other inputs, so that the second call, a replay, has to read its own
        for at in (meta,) if of_chunk is None else (elsewhere, meta):
            found, _ = meta_gradient(
                algorithm, at, episodes, tasks_at_once=at_once, of_chunk=of_chunk
            )
    return norm({n: found[n].cpu().double() - g for n, g in expected.items()}) / norm(expected)


def norm(gradient: dict[str, Tensor]) -> float:
    """Of all its tensors together."""
    return float(torch.stack([g.norm() for g in gradient.values()]).norm())
