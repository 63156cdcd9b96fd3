"""One node of a config, checked and made into the object that its _target_ names."""

import functools
import inspect
import pydoc
import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

import hydra.utils

from metaloop import RENAMED, __all__ as PUBLIC
from metaloop.arguments import check_arguments
from metaloop.errors import UserError, nearest
from metaloop.run.config.refusal import refusal

Node = Mapping[str, object]
Section = TypeVar("Section")


def construct(node: Node, kind: type[Section], *, key: str, **supplied: object) -> Section:
    """Construct what `_target_` names from the node's values and those it is supplied with.

    Of `supplied` the constructor gets what its signature names and the node does not set.
    """
    target = check_node(node, key=key, supplied=tuple(supplied))
    named = inspect.signature(target).parameters
    extra = {n: v for n, v in supplied.items() if n in named and n not in node}
    try:
        made = hydra.utils.instantiate(dict(node), _partial_=True, _convert_="all")(**extra)
    except Exception as error:  # whatever somebody's constructor raises
        raise refusal(key, node, error) from error
    if not isinstance(made, kind):
        raise UserError(
            f"{key}._target_={node['_target_']} makes a {type(made).__name__}, but a "
            f"{kind.__module__}.{kind.__name__} belongs there."
        )
    return made


def partial(node: Node, *, key: str, supplied: str, **preferred: object) -> Callable[..., object]:
    """Check a node and bind its values; the one argument left is supplied later.

    Of `preferred` is bound what the signature names and the node does not set.
    """
    target = check_node(node, key=key, supplied=(supplied,))
    values = {n: v for n, v in node.items() if not n.startswith("_")}
    named = inspect.signature(target).parameters
    extra = {n: v for n, v in preferred.items() if n in named and n not in node}
    return functools.partial(target, **values, **extra)


def check_node(node: Node, *, key: str, supplied: tuple[str, ...] = ()) -> Callable[..., object]:
    """Check a node, and those inside it, against the signature of its `_target_`; return that."""
    name = node.get("_target_")
    if not isinstance(name, str):
        raise UserError(f"{key} needs a _target_, the class or function that makes it.")
    target = _locate(name, key)
    values = {n: v for n, v in node.items() if not n.startswith("_")}
    nested = {n: nodes for n, v in values.items() if (nodes := _nodes_in(v))}
    for argument, nodes in nested.items():
        for part in nodes:
            check_node(part, key=f"{key}.{argument}")
    own = {n: v for n, v in values.items() if n not in nested}
    check_arguments(target, own, key=key, supplied={*supplied, *nested})
    return target


def _nodes_in(value: object) -> list[Node]:
    """The nodes that a value is, or that it lists."""
    values = value if isinstance(value, list) else [value]
    return [v for v in values if isinstance(v, dict) and "_target_" in v]


def _locate(name: str, key: str) -> Callable[..., object]:
    _refuse_private(name, key)
    try:
        found = pydoc.locate(name)
    except pydoc.ErrorDuringImport as error:
        raise UserError(f"{key}._target_={name} fails to import: {error.value}") from error
    if inspect.ismodule(found):
        # from Python 3.12 on pydoc prefers a module to what its package has of that name
        package, _, last = name.rpartition(".")
        found = getattr(sys.modules.get(package), last, found)
    if not callable(found):
        raise UserError(
            f"{key}._target_={name} names no class or function that can be imported. Correct the "
            "name, or start where your module can be imported."
        )
    return found


def _refuse_private(name: str, key: str) -> None:
    """Refuse what is metaloop's own and not public: it may be gone in the next version."""
    package, _, rest = name.partition(".")
    if package != "metaloop" or rest in PUBLIC:
        return
    last = rest.rpartition(".")[2]
    renamed = RENAMED.get(last, f"metaloop.{last}" if last in PUBLIC else None)
    if renamed is not None:
        raise UserError(f"{key}._target_={name} is now called {renamed}. Write that.")
    raise UserError(
        f"{key}._target_={name}: metaloop has no public name {rest}. {nearest(last, PUBLIC)}Its "
        "public names are listed in metaloop.__all__."
    )


def section(kind: Callable[..., Section], node: Node, key: str, **supplied: object) -> Section:
    """Construct a section whose class is fixed."""
    check_arguments(kind, node, key=key, supplied=tuple(supplied))
    return kind(**node, **supplied)
