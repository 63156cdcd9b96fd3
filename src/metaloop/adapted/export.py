"""Networks for programs without metaloop: torch.export's .pt2 and ONNX, any batch size."""

import contextlib
import copy
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from metaloop.adapted.description import DESCRIPTION, INPUT, OUTPUT, Description
from metaloop.errors import UserError
from metaloop.inner_loop import STATISTICS, Objective, Parameters

Format = Literal["pt2", "onnx"]
ONNX = ("onnx", "onnxscript")
CLASSES = "classes.json"  # the file in a .pt2, and the entry of an ONNX file's metadata


class Network(nn.Module):
    """A model under given parameters: probabilities of `ways` classes, or numbers."""

    def __init__(self, model: nn.Module, ways: int | None) -> None:
        super().__init__()
        self.model, self.ways = model, ways

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.model(x)
        return outputs if self.ways is None else outputs[:, : self.ways].softmax(1)


def freeze(
    objective: Objective, phi: Parameters, support: Tensor | None, ways: int | None
) -> Network:
    """The model with phi as its weights and its norms' statistics as constants.

    With norm_mode=inductive those are of the support set; frozen and per_step bring stored ones.

    Raises:
        UserError: the norms' statistics depend on what is predicted together.

    """
    require_fixed_norms(objective, has_support=support is not None)
    statistics: Mapping[str, Tensor] = phi
    if objective.norms and not objective.mode.stores:
        assert support is not None
        statistics = objective.measure_statistics(phi, support)
    model = copy.deepcopy(objective.model).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(phi.get(name, p))
        for name in objective.norms:
            norm = cast(_BatchNorm, model.get_submodule(name))
            for kind, held in (("mean", norm.running_mean), ("variance", norm.running_var)):
                if held is not None and name not in (objective.pinned or ()):
                    held.copy_(statistics.get(f"{STATISTICS}{name}.{kind}", held))
    return Network(model.requires_grad_(False), ways).cpu()


def require_fixed_norms(objective: Objective, *, has_support: bool) -> None:
    """Refuse what a network cannot be exported with: norms whose statistics the batch decides.

    Raises:
        UserError: with the way out.

    """
    unnamed = [name for name, norm in objective.norms.items() if norm.running_mean is None]
    if unnamed:
        raise UserError(
            f"{unnamed[0]} has no place for statistics and takes those of whatever batch it is "
            "given, so that what is exported would predict differently for each batch size. Make "
            "it with track_running_stats=True."
        )
    if objective.norms:
        objective.mode.require_fixed(has_support=has_support)


def export(
    network: Network,
    example: Tensor,
    path: Path,
    description: Description,
    classes: Sequence[str] | None = None,
) -> None:
    """Write a network as .pt2 or .onnx, for any number of rows of `example`'s shape.

    What it takes and gives goes with it, and the classes' names once more by themselves: in a .pt2
    as its extra files `description.json` and `classes.json`, in ONNX as the metadata of these
    names.

    Raises:
        UserError: another ending, packages missing, or a model that torch cannot export.

    """
    format_ = path.suffix.removeprefix(".")
    if format_ not in get_args(Format):
        raise UserError(f"{path} is to end in .pt2 (torch.export) or .onnx.")
    require_format(cast(Format, format_))
    rows = torch.cat([example[:1]] * 2).cpu()  # one row would be taken for a constant
    shapes = ({0: torch.export.Dim("rows", min=1)},)
    metadata = {
        DESCRIPTION: json.dumps(description),
        CLASSES: json.dumps(None if classes is None else list(classes)),
    }
    with _quietly():
        try:
            program = torch.export.export(network.eval(), (rows,), dynamic_shapes=shapes)
            if format_ == "pt2":
                torch.export.save(program, path, extra_files=metadata)
                return
            made = torch.onnx.export(
                program,
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
        except Exception as error:  # whatever in a model of the user's own torch cannot trace
            raise UserError(
                f"torch cannot export {type(network.model).__name__}: {error}"
            ) from error
    assert made is not None
    made.model.metadata_props.update(metadata)
    made.save(str(path))


def require_format(format_: Format) -> None:
    """Refuse ONNX where its packages are missing."""
    if format_ == "onnx" and (
        lacking := [name for name in ONNX if importlib.util.find_spec(name) is None]
    ):
        raise UserError(
            f"ONNX needs the package {lacking[0]}, which is not installed. Install the extra: "
            "pip install 'metaloop[export]'."
        )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Torch's exporters log and warn about their own insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
