"""Argument types that carry their range, and the check of values against a signature.

A constructor's signature is the only schema of its section in the configuration.
"""

import inspect
import json
import typing
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from metaloop.errors import UserError, nearest

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def check_arguments(
    target: Callable[..., object],
    values: Mapping[str, object],
    *,
    key: str,
    supplied: Collection[str] = (),
    positional: int = 0,
) -> None:
    """Check plain values (what YAML can say) against the signature of `target`.

    `key` is where the values stand in the configuration; `supplied` are the arguments that the
    caller adds later, as it does the first `positional` ones.

    Raises:
        UserError: an unknown, missing, mistyped or out-of-range argument, each named by its key.

    """
    try:
        parameters = inspect.signature(target).parameters
    except ValueError as error:
        raise UserError(f"{key}: {_name(target)} does not say what arguments it takes.") from error
    named = {
        n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    supplied = {*supplied, *list(parameters)[:positional]}
    accepts_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in values:
        if name not in named and not accepts_any:
            raise UserError(_unknown(f"{key}.{name}".lstrip("."), target, named - supplied))
    for name in named - set(values) - supplied:
        if parameters[name].default is inspect.Parameter.empty:
            where = f"{key}.{name}".lstrip(".")
            raise UserError(f"{where} is missing: {_name(target)} needs it. Add {where}=VALUE.")
    for name in named & set(values):
        _check_value(target, name, values[name], f"{key}.{name}".lstrip("."))


def _check_value(target: Callable[..., object], name: str, value: object, where: str) -> None:
    adapter = _adapter(target, name)
    if adapter is None:
        return
    try:
        # JSON is what YAML can say: a list may stand for a tuple, but "5" is no number
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        # a union reports every member; the first line of each, once
        rules = dict.fromkeys(e["msg"] for e in error.errors(include_url=False))
        rule = " or ".join(r[0].lower() + r[1:] for r in rules)
        raise UserError(
            f"{where}={value!r} does not fit {_name(target)}: {rule}. Set {where} accordingly."
        ) from None


@cache
def _adapter(target: Callable[..., object], name: str) -> TypeAdapter[object] | None:
    """What checks this argument; None where its type says nothing that YAML could break."""
    function = target.__init__ if inspect.isclass(target) else target
    try:
        hints = typing.get_type_hints(function, include_extras=True)
        if name not in hints:
            return None
        return TypeAdapter(hints[name], config=ConfigDict(arbitrary_types_allowed=True))
    except (NameError, TypeError, PydanticSchemaGenerationError, PydanticUserError):
        return None  # a foreign annotation: its own constructor is the judge


def _unknown(where: str, target: Callable[..., object], known: Collection[str]) -> str:
    hint = nearest(where.rpartition(".")[2], known)
    arguments = ", ".join(sorted(set(known) - {"self"})) or "none"
    return f"{where} is unknown. {hint}{_name(target)} takes: {arguments}."


def _name(target: Callable[..., object]) -> str:
    return getattr(target, "__qualname__", repr(target)).lstrip("_")
