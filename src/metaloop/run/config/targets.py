"""What a config's `_target_` names: may it be imported, and what does it make, before a call."""

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
# metaloop's dependencies: only public classes of theirs are made, since some of their functions
# that return a module execute what they are given as text (torch.fx, load_from_checkpoint)
FRAMEWORKS = (
    "torch",
    "torchmetrics",
    "pytorch_lightning",
    "lightning",
    "lightning_fabric",
    "wandb",
)
KNOWN = ("metaloop", *FRAMEWORKS, "torchvision.datasets")
# what an argument may be whose annotation names no class; and data: dataclasses, pydantic's models
FREE = (nn.Module, Task, Algorithm, Callback, Logger, pydantic.BaseModel)
# modules of annotations too wide to judge
SAYS_NOTHING = ("builtins", "collections.abc", "types", "typing")


def find_target(name: str, key: str) -> Callable[..., object]:
    """Import what a config names, if metaloop, the environment and Hydra's block list allow it.

    Raises:
        UserError: it is private or renamed, not trusted, blocked, or cannot be imported.

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
    """Refuse a package that METALOOP_TRUST, where it is set, does not list.

    Raises:
        UserError: it does not; nothing has been imported.

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
    """Refuse a config that names any package that METALOOP_TRUST does not list."""
    if isinstance(content, Mapping):
        if isinstance(name := content.get("_target_"), str):
            require_trusted(name, key)
        for inner, value in content.items():
            require_all_trusted(value, f"{key}.{inner}".lstrip("."))
    elif isinstance(content, list):
        for value in content:
            require_all_trusted(value, key)


def require_kind(target: Callable[..., object], kinds: tuple[type, ...], name: str) -> None:
    """Refuse a target that does not say that it makes one of these; no kinds: one of `FREE`.

    A class says it by what it derives from, a function by the annotation of what it returns.

    Raises:
        UserError: it makes something else, or does not say what.

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
    """The classes that an argument's annotation names; none where it says nothing of them."""
    return tuple(_classes(hints_of(target).get(argument), is_partial=is_partial))


def _made_by(function: Callable[..., object]) -> list[type]:
    """The classes that a function's annotation says it makes; none if one is left open."""
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
    """The classes in an annotation, through unions and containers."""
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
    """Whether an annotation is a class that says something, and no container."""
    return inspect.isclass(hint) and hint.__module__ not in SAYS_NOTHING


def _explain(error: InstantiationException, where: str, name: str) -> str:
    """Hydra's word on a target: blocked, broken, or not there."""
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


@functools.cache  # once a process, however often a run is built
def _print_foreign(package: str) -> None:
    place = getattr(sys.modules.get(package), "__file__", None) or "no file"
    rank_zero_only(print)(
        f"Uses code from outside metaloop and torch: {package} ({place})", flush=True
    )


def _refuse_private(name: str, key: str) -> None:
    """Refuse what is not public: it may be gone in the next version."""
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
