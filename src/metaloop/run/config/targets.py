"""Check a config's `_target_` before it is called: whether it is trusted, and what it makes."""

import dataclasses
import functools
import inspect
import os
import sys
import types
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping

import hydra.utils
import pydantic
from hydra.errors import InstantiationException
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from metaloop import RENAMED, __all__ as PUBLIC
from metaloop.algorithms import Algorithm
from metaloop.arguments import hints_of
from metaloop.errors import UserError, nearest
from metaloop.tasks import Task

TRUST = "METALOOP_TRUST"
# metaloop's dependencies: only their public classes are allowed, since some of their functions
# that return a module execute their arguments as code (torch.fx, load_from_checkpoint)
FRAMEWORKS = (
    "torch",
    "torchmetrics",
    "pytorch_lightning",
    "lightning",
    "lightning_fabric",
    "wandb",
)
KNOWN = ("metaloop", *FRAMEWORKS, "torchvision.datasets")
# kinds of an argument whose annotation names no class; dataclasses are allowed too
FREE = (nn.Module, Task, Algorithm, Callback, Logger, pydantic.BaseModel)
# modules of annotations too wide to judge
SAYS_NOTHING = ("builtins", "collections.abc", "types", "typing")


def find_target(name: str, key: str) -> Callable[..., object]:
    """Import a target, if metaloop, METALOOP_TRUST and Hydra's block list allow it.

    Raises:
        UserError: if it is private, renamed, not trusted or blocked, or cannot be imported.

    """
    _refuse_private(name, key)
    require_trusted(name, key)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Using '_target_: functools.partial'")
            made = hydra.utils.instantiate({"_target_": name, "_partial_": True})
    except InstantiationException as error:
        raise UserError(_explain(error, f"{key}._target_={name}", name)) from error
    if not _is_in(name, KNOWN):
        _print_foreign(name.partition(".")[0])
    found: Callable[..., object] = made.func
    return found


def require_trusted(name: str, key: str) -> None:
    """Refuse a package that METALOOP_TRUST does not list, if it is set.

    Raises:
        UserError: if it is not listed; it has not been imported.

    """
    if TRUST not in os.environ or _is_in(name, KNOWN):
        return
    trusted = [each.strip() for each in os.environ[TRUST].split(",")]
    if not _is_in(name, trusted):
        allowing = ",".join([*filter(None, trusted), name.partition(".")[0]])
        raise UserError(
            f"{key}._target_={name} is code that {TRUST}={os.environ[TRUST]} does not allow, and "
            f"was not imported. If you trust it, set {TRUST}={allowing}."
        )


def _is_in(name: str, packages: Iterable[str]) -> bool:
    return any(each and f"{name}.".startswith(f"{each}.") for each in packages)


def require_all_trusted(content: object, key: str = "") -> None:
    """Refuse a config that names a package which METALOOP_TRUST does not list."""
    if isinstance(content, Mapping):
        if isinstance(name := content.get("_target_"), str):
            require_trusted(name, key)
        for inner, value in content.items():
            require_all_trusted(value, f"{key}.{inner}".lstrip("."))
    elif isinstance(content, list):
        for value in content:
            require_all_trusted(value, key)


def require_kind(target: Callable[..., object], kinds: tuple[type, ...], name: str) -> None:
    """Refuse a target that is not known to make one of these kinds, by default one of `FREE`.

    A class makes itself; a function has to annotate what it returns.

    Raises:
        UserError: if it makes something else, or that is unknown.

    """
    made = [target] if inspect.isclass(target) else _made_by(target)
    wanted = kinds or FREE
    is_data = not kinds and all(dataclasses.is_dataclass(each) for each in made)
    if made and (is_data or all(issubclass(each, wanted) for each in made)):
        return
    one = " or ".join(f"{kind.__module__}.{kind.__name__}" for kind in wanted)
    if inspect.isclass(target):
        advice = "" if kinds else " If it does: annotate the argument with that class."
        raise UserError(f"{name} makes a {target.__name__}, but a {one} belongs there.{advice}")
    raise UserError(
        f"{name} is a function that is not known to make a {one}, and is not called. Name a class, "
        "or a function of yours that is annotated: `def make(..) -> torch.nn.Module:`."
    )


def kinds_of(target: Callable[..., object], argument: str, *, is_partial: bool) -> tuple[type, ...]:
    """Return the classes that an argument's annotation names; empty if there are none."""
    return tuple(_classes(hints_of(target).get(argument), is_partial=is_partial))


def _made_by(function: Callable[..., object]) -> list[type]:
    """Return the classes in a function's return annotation; empty if it names anything else."""
    if str(getattr(function, "__module__", "")).partition(".")[0] in FRAMEWORKS:
        return []
    hint = hints_of(function).get("return")
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    members = typing.get_args(hint) if is_union else (hint,)
    made = [typing.get_origin(each) or each for each in members if each is not types.NoneType]
    return (
        [each for each in made if inspect.isclass(each)] if all(map(inspect.isclass, made)) else []
    )


def _classes(hint: object, *, is_partial: bool = False) -> Iterator[type]:
    """Yield the classes in an annotation, inside unions and containers too."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        yield from _classes(arguments[0], is_partial=is_partial)
    elif origin is type or hint is types.NoneType:
        return
    elif origin is Callable:
        if is_partial:
            yield from _classes(arguments[-1])
    elif arguments and not _is_class(origin):
        for inner in arguments:
            yield from _classes(inner, is_partial=is_partial)
    elif _is_class(named := origin or hint):
        yield from () if getattr(named, "_is_protocol", False) else (named,)


def _is_class(hint: object) -> typing.TypeGuard[type]:
    """Check whether an annotation is a class, neither a container nor too wide."""
    return inspect.isclass(hint) and hint.__module__ not in SAYS_NOTHING


def _explain(error: InstantiationException, where: str, name: str) -> str:
    """Explain Hydra's error: the target is blocked, broken or missing."""
    if (locating := error.__cause__) is None:
        first = str(error).splitlines()[0].rstrip(",")
        if "callable" in first:
            return f"{where} names no class or function. Correct the name."
        return f"{where} is refused: it could execute anything. Name what makes this section."
    cause = locating.__cause__
    is_absent = isinstance(cause, ModuleNotFoundError) and f"{name}.".startswith(f"{cause.name}.")
    if cause is None or is_absent or isinstance(cause, AttributeError):
        return (
            f"{where} names no class or function that can be imported. Correct the name, or start "
            "where your module can be imported."
        )
    return f"{where} fails to import: {cause}"


@functools.cache  # once per process
def _print_foreign(package: str) -> None:
    place = getattr(sys.modules.get(package), "__file__", None) or "no file"
    rank_zero_only(print)(
        f"Uses code from outside metaloop and torch: {package} ({place})", flush=True
    )


def _refuse_private(name: str, key: str) -> None:
    """Refuse a private name, which the next version may not have."""
    package, _, rest = name.partition(".")
    if package in FRAMEWORKS and "._" in name:
        raise UserError(f"{key}._target_={name} is private to {package}. Name a public class.")
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
