"""What users hold, arrays and labels, as a learner's inputs and targets."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from metaloop.episode import Inputs, count_rows, map_inputs
from metaloop.errors import UserError
from metaloop.tasks import Task
from metaloop.tasks.readers.arrays import Array, Arrays, Labels, to_tensor


def to_inputs(task: Task, x: Arrays, dtype: torch.dtype, device: torch.device) -> Inputs:
    """Inputs [rows, *X] in the scale that the task's episodes have; sentences as their tokens.

    Raises:
        UserError: no rows, another shape, or what is no number.

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
    _require_numbers(raw, "x")
    return map_inputs(lambda tensor: tensor.to(device), task.scale(raw, dtype))


def _require_named(raw: Inputs, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a dict of other names or shapes than the task's, or of rows that do not match."""
    wanted = ", ".join(f"{name} [rows, {str(list(s))[1:-1]}]" for name, s in shapes.items())
    names = list(raw) if isinstance(raw, dict) else []
    if not isinstance(raw, dict) or set(names) != set(shapes):
        found = ", ".join(names) or "one array"
        takes = f"a dict of {wanted}" if shapes else "one array"
        raise UserError(f"The learner takes {takes}, but x is {found}. Pass what it takes.")
    rows = count_rows(raw)
    for name, shape in shapes.items():
        if tuple(raw[name].shape) != (rows, *shape):
            raise UserError(
                f"The learner takes {wanted}, but x[{name!r}] has the shape "
                f"{list(raw[name].shape)}, where x has {rows} rows. Bring it into this shape."
            )
        _require_numbers(raw[name], f"x[{name!r}]")


def _other_shape(found: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    message = (
        f"The learner takes inputs of shape [rows, {', '.join(map(str, wanted))}], but x has the "
        f"shape {list(found)}. "
    )
    if len(wanted) == 3:
        if found[1:] == (*wanted[1:], wanted[0]):
            return message + "Put the channels first: x.transpose(0, 3, 1, 2)."
        if wanted[0] == 1 and found[1:] == wanted[1:]:
            return message + "Give it its one channel: x[:, None]."
        return message + "Resize the images, or convert their channels."
    if found == wanted:
        return message + "For a single example pass x[None]."
    if len(wanted) == len(found) - 1 == 1:
        return message + f"Give every row {wanted[0]} features, those the run was trained on."
    return message + "Bring it into this shape."


def is_regression(task: Task, y: Labels) -> bool:
    """Whether the task's targets are numbers; where the task does not say, whether y's are."""
    if task.is_regression is not None:
        return task.is_regression
    if isinstance(y, Tensor):
        return y.is_floating_point()
    return y.dtype.kind == "f" if isinstance(y, np.ndarray) else isinstance(y[0], float)


def to_numbers(task: Task, y: Labels, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Targets of a regression, [rows, outputs]; a flat y where there is one output."""
    raw = to_tensor(y, "y")
    if raw.ndim == 1 and task.output_size == 1:
        raw = raw[:, None]
    if raw.ndim < 2 or raw.shape[1:].numel() != task.output_size:
        raise UserError(
            f"The learner predicts {task.output_size} numbers for an input, but y has the shape "
            f"{list(raw.shape)}. Give y the shape [rows, {task.output_size}]."
        )
    _require_numbers(raw, "y")
    return raw.to(device, dtype)


def to_labels(y: Labels) -> list[Hashable]:
    """A label for every row, of any hashable kind."""
    listed: list[Hashable] = y.tolist() if isinstance(y, np.ndarray | Tensor) else list(y)
    for row, label in enumerate(listed):
        if not isinstance(label, Hashable):
            raise UserError(
                f"y[{row}] is a {type(label).__name__}, no label. Pass one label a row: a string, "
                "a number, or anything else that is hashable."
            )
        if isinstance(label, float) and label != label:
            raise UserError(f"y[{row}] is NaN, no label. Leave the row out, or label it.")
    return listed


def find_classes(labels: Sequence[Hashable]) -> list[Hashable]:
    """The different labels: sorted, or where they cannot be, as they first appear.

    Raises:
        UserError: fewer than two.

    """
    found = list(dict.fromkeys(labels))
    if len(found) < 2:
        raise UserError(
            f"The support set has one class only ({found[0]!r}): there is nothing to tell apart. "
            "Add examples of another."
        )
    try:
        return sorted(found)  # type: ignore[type-var]
    except TypeError:
        return found


def to_indices(
    labels: Sequence[Hashable], classes: Sequence[Hashable], device: torch.device
) -> Tensor:
    """The labels as numbers 0..N-1.

    Raises:
        UserError: a label that is none of the classes.

    """
    index = {label: i for i, label in enumerate(classes)}
    if unknown := list(dict.fromkeys(label for label in labels if label not in index)):
        raise UserError(
            f"{_some(unknown)} is no class of the support set ({_some(classes)}). Add support "
            "examples of it, or leave it out."
        )
    return torch.tensor([index[label] for label in labels], device=device)


def named(classes: Sequence[Hashable]) -> Array:
    """The classes as an array that an index array picks from."""
    if len({type(label) for label in classes}) == 1 and isinstance(classes[0], str | int | float):
        return np.array(classes)
    made = np.empty(len(classes), dtype=object)
    for i, label in enumerate(classes):  # one by one: numpy would unpack tuples
        made[i] = label
    return made


def _require_numbers(values: Tensor, name: str) -> None:
    if not values.is_floating_point():
        return
    unfit = (~values.isfinite()).flatten(1).any(1).nonzero()[:, 0].tolist()
    if unfit:
        raise UserError(
            f"{name} holds NaN or infinity in {len(unfit)} rows, the first {name}[{unfit[0]}]. "
            "Fill them in, or leave those rows out."
        )


def _some(values: Sequence[object]) -> str:
    return ", ".join(map(repr, values[:5])) + (" .." if len(values) > 5 else "")
