"""The identity of a run: its config without device, loggers and paths.

Imports no torch, so that commands stay fast.
"""

import hashlib
import json
from collections.abc import Mapping

from metaloop.run.config.keys import effect_of, leaves

PATHS = ("_dir", ".root")  # endings of keys of paths, ours and torchvision's


def is_elsewhere(key: str) -> bool:
    """Check whether a dotted key is no part of the identity: device, logger, path .."""
    return effect_of(key).changes != "numbers" or key.endswith(PATHS)


def identifying(config: Mapping[str, object]) -> dict[str, object]:
    """Return the values that a run's results depend on, by their dotted keys."""
    return {key: value for key, value in leaves(config) if not is_elsewhere(key)}


def identity(config: Mapping[str, object], *extra: str) -> str:
    """Name a run by eight hexadecimal digits, the same for the same results.

    `extra` distinguishes runs whose configs do not differ.
    """
    text = json.dumps([identifying(config), sorted(extra)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def differences(
    before: Mapping[str, object], after: Mapping[str, object]
) -> dict[str, tuple[object, object]]:
    """Return the differences of two configs in their identity: before and after, by key.

    A key that one of them lacks has None there.
    """
    one, other = identifying(before), identifying(after)
    keys = dict.fromkeys((*one, *other))
    return {key: (one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)}
