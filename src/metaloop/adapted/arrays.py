"""Convert a user's arrays and labels to a learner's inputs and targets."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from metaloop.episode import Inputs, count_rows, map_inputs
from metaloop.errors import UserError
from metaloop.tasks import Task
from metaloop.tasks.readers.arrays import Array, Arrays, Labels, to_tensor


def to_inputs(task: Task, x: Arrays, dtype: torch.dtype, device: torch.device) -> Inputs:
    """Convert x to inputs [rows, *X] in the scale of the task's episodes; sentences to tokens.

    Raises:
        UserError: if there are no rows, the shape differs, or a value is not finite.

    """
    raw = task.encode(x)
    if isinstance(raw, dict) or task.input_shapes:
        _require_named(raw, task.input_shapes)
        return map_inputs(lambda tensor: tensor.to(device), task.scale(raw, dtype))
    shape = tuple(task.input_shape)
    if shape == (1,) and raw.ndim == 1:
        raw = raw[:, None]
    if raw.shape[1:] != shape:
        raise UserError(_other_shape(tuple(raw.shape), shape))
    _require_finite(raw, "x")
    return map_inputs(lambda tensor: tensor.to(device), task.scale(raw, dtype))


def _require_named(raw: Inputs, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a dict whose names, shapes or numbers of rows do not fit the task."""
    wanted = ", ".join(f"{name} [rows, {str(list(s))[1:-1]}]" for name, s in shapes.items())
    names = list(raw) if isinstance(raw, dict) else []
    if not isinstance(raw, dict) or set(names) != set(shapes):
        found = ", ".join(names) or "one array"
        takes = f"a dict of {wanted}" if shapes else "one array"
        raise UserError(f"The learner takes {takes}, but x is {found}. Pass x in that form.")
    rows = count_rows(raw)
    for name, shape in shapes.items():
        if tuple(raw[name].shape) != (rows, *shape):
            raise UserError(
                f"The learner takes {wanted}, but x[{name!r}] has the shape "
                f"{list(raw[name].shape)}, where x has {rows} rows. Reshape it."
            )
        _require_finite(raw[name], f"x[{name!r}]")


def _other_shape(found: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    message = (
        f"The learner takes inputs of shape [rows, {', '.join(map(str, wanted))}], but x has the "
        f"shape {list(found)}. "
    )
    if len(wanted) == 3:
        if found[1:] == (*wanted[1:], wanted[0]):
            return message + "Move the channels first: x.transpose(0, 3, 1, 2)."
        if wanted[0] == 1 and found[1:] == wanted[1:]:
            return message + "Add the channel dimension: x[:, None]."
        return message + "Resize the images, or convert their channels."
    if found == wanted:
        return message + "For a single example pass x[None]."
    if len(wanted) == len(found) - 1 == 1:
        return message + f"Pass the {wanted[0]} features that the run was trained on."
    return message + "Reshape x."


def is_regression(task: Task, y: Labels) -> bool:
    """Check whether the targets are real values, by the task or, if it does not say, by y."""
    if task.is_regression is not None:
        return task.is_regression
    if isinstance(y, Tensor):
        return y.is_floating_point()
    return y.dtype.kind == "f" if isinstance(y, np.ndarray) else isinstance(y[0], float)


def to_values(task: Task, y: Labels, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Convert a regression's targets to [rows, outputs]; y may be flat if there is one output."""
    raw = to_tensor(y, "y")
    if raw.ndim == 1 and task.output_size == 1:
        raw = raw[:, None]
    if raw.ndim < 2 or raw.shape[1:].numel() != task.output_size:
        raise UserError(
            f"The learner predicts {task.output_size} values per input, but y has the shape "
            f"{list(raw.shape)}. Give y the shape [rows, {task.output_size}]."
        )
    _require_finite(raw, "y")
    return raw.to(device, dtype)


def to_labels(y: Labels) -> list[Hashable]:
    """Convert y to a list of labels, one per row, of any hashable kind."""
    listed: list[Hashable] = y.tolist() if isinstance(y, np.ndarray | Tensor) else list(y)
    for row, label in enumerate(listed):
        if not isinstance(label, Hashable):
            raise UserError(
                f"y[{row}] is a {type(label).__name__}, which cannot be a label. Pass one label "
                "per row: a string, a number, or any other hashable value."
            )
        if isinstance(label, float) and label != label:
            raise UserError(f"y[{row}] is NaN, which is not a label. Drop the row, or label it.")
    return listed


def find_classes(labels: Sequence[Hashable]) -> list[Hashable]:
    """Find the different labels: sorted, or in order of appearance if they cannot be sorted.

    Raises:
        UserError: if there are fewer than two.

    """
    found = list(dict.fromkeys(labels))
    if len(found) < 2:
        raise UserError(
            f"The support set has only one class ({found[0]!r}), so there is nothing to "
            "distinguish. Add examples of another class."
        )
    try:
        return sorted(found)  # type: ignore[type-var]
    except TypeError:
        return found


def to_indices(
    labels: Sequence[Hashable], classes: Sequence[Hashable], device: torch.device
) -> Tensor:
    """Convert labels to class indices 0..N-1.

    Raises:
        UserError: if a label is not one of the classes.

    """
    index = {label: i for i, label in enumerate(classes)}
    if unknown := list(dict.fromkeys(label for label in labels if label not in index)):
        raise UserError(
            f"{_some(unknown)} is not a class of the support set ({_some(classes)}). Add support "
            "examples of it, or leave it out."
        )
    return torch.tensor([index[label] for label in labels], device=device)


def to_array(classes: Sequence[Hashable]) -> Array:
    """Convert the classes to an array that can be indexed by class indices."""
    if len({type(label) for label in classes}) == 1 and isinstance(classes[0], str | int | float):
        return np.array(classes)
    made = np.empty(len(classes), dtype=object)
    for i, label in enumerate(classes):  # one by one: numpy would unpack tuples
        made[i] = label
    return made


def _require_finite(values: Tensor, name: str) -> None:
    if not values.is_floating_point():
        return
    unfit = (~values.isfinite()).flatten(1).any(1).nonzero()[:, 0].tolist()
    if unfit:
        raise UserError(
            f"{name} has NaN or infinity in {len(unfit)} rows, first in {name}[{unfit[0]}]. "
            "Replace them, or leave those rows out."
        )


def _some(values: Sequence[object]) -> str:
    return ", ".join(map(repr, values[:5])) + (" .." if len(values) > 5 else "")
