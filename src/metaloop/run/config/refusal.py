"""Explain why a foreign constructor or step refuses its arguments, by the key at fault."""

import re
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

from hydra.errors import InstantiationException

from metaloop.errors import UserError

LONGEST = 240  # characters of a foreign message


def refusal(key: str, node: Mapping[str, object], error: Exception) -> UserError:
    """Name the arguments that the error mentions, by name or else by value; else the _target_."""
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # raised for a node inside this one
    if isinstance(error, UserError):
        return UserError(f"{key}: {error}")
    values = dict(_values(node, ""))
    message = " ".join(str(error).split())[:LONGEST] or "it says no more"
    if isinstance(error, ZeroDivisionError):
        blamed = {name for name, value in values.items() if value == 0}
        message = f"{node.get('_target_')} divides by what must not be 0"
    else:
        words = {word.strip(".`") for word in re.findall(r"[\w.+-]+", message.lower())}
        blamed = (
            {name for name in values if _last(name) in words}
            or {name for name in values if _is_meant(name, words)}
            or {name for name, value in values.items() if _shown(value) & words}
        )
    if not isinstance(error, ValueError | TypeError | ZeroDivisionError):
        message = f"{type(error).__name__}: {message}{_place(error)}"
    named = {name: values[name] for name in values if name in blamed} or {
        "_target_": node.get("_target_")
    }
    return UserError(f"{', '.join(f'{key}.{n}={v}' for n, v in named.items())}: {message}")


def _values(node: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    """Yield all arguments of a node and of the nodes inside it, by their dotted keys."""
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from _values(value, f"{prefix}{name}.")
        elif not name.startswith("_"):
            yield f"{prefix}{name}", value


def _last(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _is_meant(name: str, words: set[str]) -> bool:
    """Check whether words begin with the parts of a name: a starting factor is start_factor."""
    parts = [part for part in _last(name).split("_") if part]
    return len(_last(name)) > 2 and all(any(w.startswith(part) for w in words) for part in parts)


def _shown(value: object) -> set[str]:
    """Write a value, or each value of a list, as a message shows it."""
    values = value if isinstance(value, list) else [value]
    return {str(v).lower() for v in values if v is not None and not isinstance(v, bool)}


def _place(error: Exception) -> str:
    """Return the line that failed, if it is in the user's own code."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    is_installed = "site-packages" in frame.filename or "metaloop" in Path(frame.filename).parts
    return "" if is_installed else f" ({frame.filename}, line {frame.lineno})"
