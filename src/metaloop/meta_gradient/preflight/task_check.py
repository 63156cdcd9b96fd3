"""Check that a task's episodes follow the legend in episode.py: the first of the checks."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from metaloop.episode import Episode, Episodes, Examples, Inputs, tensors_of
from metaloop.errors import UserError
from metaloop.meta_gradient.random_state import keep_random_state
from metaloop.tasks import RandomStreams, Split, Task


def check_draw(task: Task, seed: int, split: Split) -> None:
    """Refuse a task whose episodes are not pure functions of (seed, split, index).

    Raises:
        UserError: if an episode differs when drawn again or drawn alone, or the task uses torch's
            global generator, which training uses too.

    """
    for family in task.extremes():
        _check_draw(family, seed, split)


def _check_draw(task: Task, seed: int, split: Split) -> None:
    name = type(task).__name__

    def drawn(*indices: int) -> list[Tensor]:
        episodes = task.draw(split, RandomStreams(seed, split, torch.tensor(indices)))
        return [t for t in pytree.tree_leaves(episodes) if isinstance(t, Tensor)]

    with keep_random_state(torch.device("cpu")):
        torch.manual_seed(0)
        state = torch.get_rng_state()
        both = drawn(0, 1)
        is_global = not torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(1)
        again, alone = drawn(0, 1), drawn(1)
    if is_global:
        raise UserError(
            f"The task {name} uses torch's global generator, but an episode must depend only on "
            "its seed, split and index. Draw from `streams` (uniform, normal, integers and "
            "choose) instead."
        )
    pairs = [
        *zip(both, again, strict=True),
        *((b[1:], a) for b, a in zip(both, alone, strict=True)),
    ]
    if not all(_is_same(one, other) for one, other in pairs):
        raise UserError(
            f"The task {name} draws a different episode for the same seed, split and index. Draw "
            "only from `streams`, each episode from its own stream, and keep no state between "
            "draws."
        )


def draw_extremes(
    task: Task, seed: int, tasks: int, device: torch.device, dtype: torch.dtype
) -> Episodes:
    """Draw the first training episodes; if shapes vary, of the smallest and the largest shape."""
    drawn = [draw_episodes(family, seed, tasks, device, dtype) for family in task.extremes()]
    return drawn if len(drawn) > 1 else drawn[0]


def draw_episodes(
    task: Task, seed: int, tasks: int, device: torch.device, dtype: torch.dtype
) -> Episode:
    """Draw the first training episodes of a task of one shape, as a learner gets them."""
    drawn = task.draw("train", RandomStreams(seed, "train", torch.arange(tasks)))
    moved = pytree.tree_map(lambda t: t.to(device), drawn)
    return task.gather(moved, dtype)


def check_episodes(episodes: Episode, task: Task | None = None) -> None:
    """Refuse episodes that do not fit the legend.

    Raises:
        UserError: the shape, dtype, label or value at fault, and what it must be.

    """
    tasks = len(episodes.classes)
    for part, examples in (("support", episodes.support), ("query", episodes.query)):
        _check_shapes(part, examples, tasks, task)
        _check_values(part, examples, task)
        _check_labels(part, examples, episodes.classes)
    support, query = (_shapes(e.inputs) for e in (episodes.support, episodes.query))
    if support != query:
        raise _refused(
            f"one support input has the shape {_list_shapes(support)}, but one query input "
            f"{_list_shapes(query)}",
            "Give both the same",
        )


def _check_shapes(part: str, examples: Examples, tasks: int, task: Task | None) -> None:
    inputs, targets = examples
    named = _named(examples)
    for kind, tensor in named.items():
        if not isinstance(tensor, Tensor):
            raise _refused(f"{part}.{kind} is a {type(tensor).__name__}", "Make it a tensor")
        if tensor.ndim < 2 or len(tensor) != tasks:
            raise _refused(
                f"{part}.{kind} has the shape {list(tensor.shape)} for {tasks} tasks",
                "Its first dimensions must be [T, S]: tasks, then examples",
            )
    for tensor in tensors_of(inputs):
        if tensor.shape[1] != targets.shape[1] or not tensor.shape[1]:
            raise _refused(
                f"{part} has {tensor.shape[1]} inputs and {targets.shape[1]} targets per task",
                "There must be as many inputs as targets, at least one",
            )
    # a task with its own `forward` may show the network other inputs than these
    shows_inputs = task is not None and type(task).forward is Task.forward
    if task is None or not shows_inputs:
        return
    found, key = _shapes(inputs), "input_shape" if isinstance(inputs, Tensor) else "input_shapes"
    said = {"": task.input_shape} if isinstance(inputs, Tensor) else task.input_shapes
    if found != {name: tuple(shape) for name, shape in said.items()}:
        raise _refused(
            f"one input of {part} has the shape {_list_shapes(found)}, but the task's {key} is "
            f"{_list_shapes(said)}",
            "Correct one of them",
        )


def _check_values(part: str, examples: Examples, task: Task | None) -> None:
    for kind, tensor in _named(examples).items():
        if tensor.is_complex():
            raise _refused(
                f"{part}.{kind} is complex", "Store real and imaginary parts as two values"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise _refused(
                f"{part}.{kind} holds nan or infinite values", "Leave out or repair such examples"
            )
    words = task.vocabulary_size if task is not None else 0
    inputs = tensors_of(examples.inputs)[0]
    if words and not inputs.is_floating_point() and int(inputs.max()) >= words:
        raise _refused(
            f"{part}.inputs holds the token {int(inputs.max())}, but vocabulary_size is {words}",
            "Tokens must be 0 .. vocabulary_size-1",
        )


def _check_labels(part: str, examples: Examples, classes: Tensor) -> None:
    """Check that integer targets are classes 0 .. N-1 if the episode has N classes."""
    labels, ways = examples.targets, classes.shape[1] if classes.ndim > 1 else 0
    if labels.is_floating_point() or not ways:
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= ways:
        raise _refused(
            f"{part}.targets holds labels from {low} to {high} in episodes of {ways} classes",
            f"Labels count from 0 to {ways - 1}"
            + (": subtract 1" if low == 1 and high == ways else ""),
        )


def _named(examples: Examples) -> dict[str, Tensor]:
    """Name the tensors for messages."""
    inputs, targets = examples
    if not isinstance(inputs, dict):
        return {"inputs": inputs, "targets": targets}
    return {**{f"inputs[{name!r}]": t for name, t in inputs.items()}, "targets": targets}


def _shapes(inputs: Inputs) -> dict[str, tuple[int, ...]]:
    """Return the shape of one input, by name if inputs have names."""
    named = {"": inputs} if isinstance(inputs, Tensor) else inputs
    return {name: tuple(tensor.shape[2:]) for name, tensor in named.items()}


def _list_shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    if set(shapes) == {""}:
        return str(list(shapes[""]))
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "not given"


def _refused(found: str, remedy: str) -> UserError:
    return UserError(f"The task's episodes do not fit: {found}. {remedy}.")


def _is_same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(
        torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
        if one.is_floating_point()
        else torch.equal(one, other)
    )
