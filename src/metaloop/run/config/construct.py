"""Check a whole node of a config, then construct the object that it describes."""

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, TypeVar, cast

from metaloop.arguments import check_arguments
from metaloop.errors import UserError
from metaloop.run.config.refusal import refusal
from metaloop.run.config.targets import find_target, kinds_of, require_kind

Node = Mapping[str, object]
Section = TypeVar("Section")
# Hydra's keys of a node; all others are arguments
TARGET, POSITIONAL, PARTIAL, RECURSIVE = "_target_", "_args_", "_partial_", "_recursive_"
HYDRAS = (TARGET, POSITIONAL, PARTIAL, RECURSIVE, "_convert_")


class Recipe(NamedTuple):
    """A checked node: a callable and its arguments, some of which may be recipes too."""

    target: Callable[..., object]
    positional: list[object]
    arguments: dict[str, object]
    is_partial: bool


def construct(node: Node, kind: type[Section], *, key: str, **supplied: object) -> Section:
    """Construct the `_target_` of a node from the node's values.

    A value of `supplied` is passed too if the signature names it and the node does not set it.
    """
    recipe = check_node(node, kind, key=key, supplied=tuple(supplied))
    try:
        made = _bound(recipe, supplied)()
    except Exception as error:  # any error of a foreign constructor
        raise refusal(key, node, error) from error
    if not isinstance(made, kind):
        raise UserError(
            f"{key}._target_={node[TARGET]} makes a {type(made).__name__}, but a "
            f"{kind.__module__}.{kind.__name__} belongs there."
        )
    return made


def partial(
    node: Node, kind: type[Section], *, key: str, supplied: str, **preferred: object
) -> Callable[..., Section]:
    """Check a node and bind its values; the argument `supplied` is passed later.

    A value of `preferred` is bound too if the signature names it and the node does not set it.
    """
    bound = _bound(check_node(node, kind, key=key, supplied=(supplied,)), preferred)
    return cast(Callable[..., Section], bound)


def check_node(node: Node, *kinds: type, key: str, supplied: Collection[str] = ()) -> Recipe:
    """Check a node and all nodes inside it against their `_target_`; call nothing.

    Raises:
        UserError: if a target may not be called or makes none of these kinds, or an argument does
            not fit; it names the key.

    """
    name = node.get(TARGET)
    if not isinstance(name, str):
        raise UserError(f"{key} needs a _target_, the class or function that makes it.")
    target = find_target(name, key)
    values = {n: v for n, v in node.items() if n not in HYDRAS}
    positional = node.get(POSITIONAL, [])
    if not isinstance(positional, list):
        raise UserError(f"{key}.{POSITIONAL}={positional} has to be a list.")
    nested = {n for n, v in values.items() if _holds_node(v)}
    if node.get(RECURSIVE, True) is False:
        nested = set()
    own = {n: v for n, v in values.items() if n not in nested}
    check_arguments(target, own, key=key, supplied={*supplied, *nested}, positional=len(positional))
    require_kind(target, kinds, f"{key}.{TARGET}={name}")
    arguments = {
        n: _read(v, target, n, f"{key}.{n}") if n in nested else v for n, v in values.items()
    }
    listed = [_read(v, target, "", f"{key}.{POSITIONAL}") for v in positional]
    return Recipe(target, listed, arguments, node.get(PARTIAL, False) is True)


def _read(value: object, target: Callable[..., object], argument: str, key: str) -> object:
    """Check the nodes in an argument's value against the argument's annotation."""
    if isinstance(value, dict) and TARGET in value:
        if value[TARGET] is None:
            return None  # an empty node
        is_partial = value.get(PARTIAL, False) is True
        return check_node(value, *kinds_of(target, argument, is_partial=is_partial), key=key)
    if isinstance(value, dict):
        return {n: _read(v, target, argument, f"{key}.{n}") for n, v in value.items()}
    if isinstance(value, list):
        return [_read(v, target, argument, key) for v in value]
    return value


def _holds_node(value: object) -> bool:
    if isinstance(value, dict):
        return TARGET in value or any(map(_holds_node, value.values()))
    return isinstance(value, list) and any(map(_holds_node, value))


def _bound(recipe: Recipe, offered: Mapping[str, object]) -> Callable[..., object]:
    """Bind a recipe's arguments to its target, and those offered ones that it lacks."""
    named = inspect.signature(recipe.target).parameters
    extra = {n: v for n, v in offered.items() if n in named and n not in recipe.arguments}
    arguments = {n: _made(v) for n, v in recipe.arguments.items()}
    return functools.partial(recipe.target, *map(_made, recipe.positional), **arguments, **extra)


def _made(value: object) -> object:
    """Replace the recipes in a value by the objects that they make."""
    if isinstance(value, Recipe):
        bound = _bound(value, {})
        return bound if value.is_partial else bound()
    if isinstance(value, dict):
        return {n: _made(v) for n, v in value.items()}
    return [_made(v) for v in value] if isinstance(value, list) else value


def section(kind: Callable[..., Section], node: Node, key: str, **supplied: object) -> Section:
    """Construct a section of the config from its fixed class."""
    check_arguments(kind, node, key=key, supplied=tuple(supplied))
    return kind(**node, **supplied)
