"""Argument types that carry their range, and the check of values against a signature.

A constructor's signature is the only schema of its section in the configuration.
"""

import inspect
import json
import re
import typing
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Annotated, TypeGuard, Unpack

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from metaloop.errors import UserError, nearest

# pydantic's types of errors in a user's words
WORDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "none_required": "null",
    "missing": "longer",  # an item of a list
}
NUMBERS = {"int_type", "float_type"}
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?"

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
    needed = {n for n in named if parameters[n].default is inspect.Parameter.empty}
    options = options_of(target)
    named |= options.keys()
    needed |= {n for n, is_needed in options.items() if is_needed}
    supplied = {*supplied, *list(parameters)[:positional]}
    accepts_any = not options and any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in values:
        if name not in named and not accepts_any:
            raise UserError(_unknown(f"{key}.{name}".lstrip("."), target, named - supplied))
    for name in sorted(needed - set(values) - supplied):
        where = f"{key}.{name}".lstrip(".")
        raise UserError(f"{where} is missing: {_name(target)} needs it. Add {where}=VALUE.")
    for name in named & set(values):
        _check_value(target, name, values[name], f"{key}.{name}".lstrip("."))


def hints_of(target: Callable[..., object]) -> dict[str, object]:
    """The annotation of each argument, those of `**options: Unpack[..]` one by one.

    Annotations that cannot be read say nothing: there are none then.
    """
    function = target.__init__ if inspect.isclass(target) else target
    try:
        hints = typing.get_type_hints(function, include_extras=True)
        options = _unpacked(hints)
        if options is not None:
            hints |= typing.get_type_hints(options, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError):
        return {}
    wrapped = (typing.Required, typing.NotRequired)
    return {
        n: typing.get_args(h)[0] if typing.get_origin(h) in wrapped else h for n, h in hints.items()
    }


def options_of(target: Callable[..., object]) -> dict[str, bool]:
    """The arguments that `**options: Unpack[..]` stands for, and whether each is needed."""
    options = _unpacked(hints_of(target))
    needed: frozenset[str] = getattr(options, "__required_keys__", frozenset())
    return {name: name in needed for name in getattr(options, "__annotations__", ())}


def _unpacked(hints: Mapping[str, object]) -> type | None:
    """The TypedDict that is unpacked into keyword arguments, where one is."""
    unpacked = (h for h in hints.values() if typing.get_origin(h) is Unpack)
    return next((typing.get_args(h)[0] for h in unpacked), None)


def _check_value(target: Callable[..., object], name: str, value: object, where: str) -> None:
    adapter = _adapter(target, name)
    if adapter is None:
        return
    try:
        # JSON is what YAML can say: a list may stand for a tuple, but "5" is no number
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        # a union reports every member; the rule of each, once
        errors = error.errors(include_url=False)
        found = [(e["type"], e["msg"], str(*e["loc"][-1:])) for e in errors]
        # but not of a member that YAML cannot say
        rules = dict.fromkeys(_rule(*f) for f in found if f[0] != "needs_python_object")
        raise UserError(
            f"{where}={_shown(value)} does not fit {_name(target)}: {' or '.join(rules)}. "
            f"{_remedy(where, value, {kind for kind, *_ in found})}"
        ) from None


def _rule(kind: str, message: str, place: str) -> str:
    """One of pydantic's rules, in words that YAML has too; `place` is a key or an index."""
    if kind == "missing" and not place.isdigit():
        return f"{place} is missing"
    if kind in WORDS:
        return f"input should be {WORDS[kind]}"
    return message[0].lower() + message[1:]


def _shown(value: object) -> str:
    return {None: "null", True: "true", False: "false"}[value] if _is_word(value) else repr(value)


def _is_word(value: object) -> TypeGuard[bool | None]:
    return value is None or isinstance(value, bool)


def _remedy(where: str, value: object, kinds: set[str]) -> str:
    """What to write instead, where that can be seen from the value."""
    if isinstance(value, str) and kinds & NUMBERS and re.fullmatch(NUMBER, value):
        return f"It is a text; leave its quotes out: {where}={value}."
    if isinstance(value, float) and "int_type" in kinds and value.is_integer():
        return f"Write {where}={value:.0f}."
    if "string_type" in kinds and isinstance(value, bool | int | float):
        return f"Where it is a name, write it in quotes: '{where}=\"{_shown(value)}\"'."
    takes_list_alone = kinds & {"list_type", "tuple_type"} and not kinds & {
        *NUMBERS,
        "int_from_float",
    }
    if takes_list_alone and isinstance(value, str | int | float):
        return f"One alone stands in brackets, too: {where}=[{value}]."
    return f"Set {where} accordingly."


@cache
def _adapter(target: Callable[..., object], name: str) -> TypeAdapter[object] | None:
    """What checks this argument; None where its type says nothing that YAML could break."""
    hints = hints_of(target)
    if name not in hints:
        return None
    try:
        hint = typing.cast(type[object], hints[name])
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except (NameError, TypeError, PydanticSchemaGenerationError, PydanticUserError):
        return None  # a foreign annotation: its own constructor is the judge


def _unknown(where: str, target: Callable[..., object], known: Collection[str]) -> str:
    hint = nearest(where.rpartition(".")[2], known)
    arguments = ", ".join(sorted(set(known) - {"self"})) or "none"
    return f"{where} is unknown. {hint}{_name(target)} takes: {arguments}."


def _name(target: Callable[..., object]) -> str:
    return getattr(target, "__qualname__", repr(target)).lstrip("_")
