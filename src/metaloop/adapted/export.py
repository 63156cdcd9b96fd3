"""Export networks for programs without metaloop: torch.export's .pt2 and ONNX, any batch size."""

import contextlib
import copy
import importlib.util
import inspect
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
from metaloop.episode import Inputs, map_inputs
from metaloop.errors import UserError
from metaloop.inner_loop import STATISTICS, Objective, Parameters

Format = Literal["pt2", "onnx"]
ONNX = ("onnx", "onnxscript")
CLASSES = "classes.json"  # an extra file of a .pt2, and an entry of an ONNX file's metadata


class Network(nn.Module):
    """A model with given parameters: probabilities of `ways` classes, or real values."""

    def __init__(self, model: nn.Module, ways: int | None) -> None:
        super().__init__()
        self.model, self.ways = model, ways

    def forward(self, x: Tensor) -> Tensor:
        return self._answer(self.model(x))

    def _answer(self, outputs: Tensor) -> Tensor:
        return outputs if self.ways is None else outputs[:, : self.ways].softmax(1)


class NamedNetwork(Network):
    """A network whose model takes several tensors by these names."""

    def __init__(self, model: nn.Module, ways: int | None, names: Sequence[str]) -> None:
        super().__init__(model, ways)

        def forward(**inputs: Tensor) -> Tensor:
            return self._answer(self.model(**inputs))

        # torch.export reads the names here: for plain **inputs it does not support dynamic sizes
        parameters = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in names]
        forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        self.forward = forward  # type: ignore[assignment]


def freeze(
    objective: Objective,
    phi: Parameters,
    support: Inputs | None,
    ways: int | None,
    names: Sequence[str] = (),
) -> Network:
    """Return the model with phi as its weights and its norms' statistics as constants.

    With norm_mode=inductive the statistics are the support set's; frozen and per_step have stored
    ones. `names` are those of the model's inputs if it has several.

    Raises:
        UserError: if the norms' statistics depend on the inputs predicted together.

    """
    require_fixed_norms(objective, has_support=support is not None)
    statistics: Mapping[str, Tensor] = phi
    if objective.norms and not objective.mode.stores:
        assert support is not None
        statistics = objective.measure_statistics(phi, support)
    model = with_weights(objective.model, phi).eval()
    with torch.no_grad():
        for name in objective.norms:
            norm = cast(_BatchNorm, model.get_submodule(name))
            for kind, held in (("mean", norm.running_mean), ("variance", norm.running_var)):
                if held is not None and name not in (objective.pinned or ()):
                    held.copy_(statistics.get(f"{STATISTICS}{name}.{kind}", held))
    model = model.requires_grad_(False).cpu()
    return NamedNetwork(model, ways, names) if names else Network(model, ways)


def with_weights(model: nn.Module, phi: Parameters) -> nn.Module:
    """Copy a model with phi in place of its parameters."""
    made = copy.deepcopy(model)
    with torch.no_grad():
        for name, p in made.named_parameters():
            p.copy_(phi.get(name, p))
    return made


def require_fixed_norms(objective: Objective, *, has_support: bool) -> None:
    """Refuse norms whose statistics depend on the batch, which cannot be exported.

    Raises:
        UserError: with a remedy.

    """
    unnamed = [name for name, norm in objective.norms.items() if norm.running_mean is None]
    if unnamed:
        raise UserError(
            f"{unnamed[0]} does not store statistics and uses those of its current batch, so an "
            "exported network would predict differently for each batch. Create it with "
            "track_running_stats=True."
        )
    if objective.norms:
        objective.mode.require_fixed(has_support=has_support)


def export(
    network: Network,
    example: Inputs,
    path: Path,
    description: Description,
    classes: Sequence[str] | None = None,
) -> None:
    """Write a network as .pt2 or .onnx, for any number of rows of `example`'s shape.

    The file contains its description, and separately the names of the classes: a .pt2 as extra
    files `description.json` and `classes.json`, an ONNX file as metadata of these names.

    Raises:
        UserError: for another file type, missing packages, or a model that torch cannot export.

    """
    format_ = path.suffix.removeprefix(".")
    if format_ not in get_args(Format):
        raise UserError(f"{path} must end in .pt2 (torch.export) or .onnx.")
    require_format(cast(Format, format_))
    # two rows, since a single one would be exported as a constant
    rows = map_inputs(lambda tensor: torch.cat([tensor[:1]] * 2).cpu(), example)
    given, named = ((), rows) if isinstance(rows, dict) else ((rows,), {})
    shape = {0: torch.export.Dim("rows", min=1)}
    shapes = dict.fromkeys(named, shape) if named else (shape,)
    metadata = {
        DESCRIPTION: json.dumps(description),
        CLASSES: json.dumps(None if classes is None else list(classes)),
    }
    with _quietly():
        try:
            program = torch.export.export(network.eval(), given, named, dynamic_shapes=shapes)
            if format_ == "pt2":
                torch.export.save(program, path, extra_files=metadata)
                return
            made = torch.onnx.export(
                program,
                dynamo=True,
                input_names=[*named] or [INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
        except Exception as error:  # anything in a user's model that torch cannot trace
            raise UserError(
                f"torch cannot export {type(network.model).__name__}: {error}"
            ) from error
    assert made is not None
    made.model.metadata_props.update(metadata)
    made.save(str(path))


def require_format(format_: Format) -> None:
    """Refuse ONNX if its packages are missing."""
    if format_ == "onnx" and (
        lacking := [name for name in ONNX if importlib.util.find_spec(name) is None]
    ):
        raise UserError(
            f"ONNX needs the package {lacking[0]}, which is not installed. Install the extra: "
            "pip install 'metaloop[export]'."
        )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silence the logs and warnings of torch's exporters about their internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
