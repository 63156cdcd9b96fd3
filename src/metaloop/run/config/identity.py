"""What makes a run the run it is: its config without where it computes, logs and reads from.

Imports no torch: commands stay quick.
"""

import hashlib
import json
from collections.abc import Mapping

from metaloop.run.config.keys import effect_of, leaves

PATHS = ("_dir", ".root")  # how keys of paths end, ours and torchvision's


def is_elsewhere(key: str) -> bool:
    """Whether a dotted key is no part of what a run is: where it computes, logs, reads from."""
    return effect_of(key).changes != "numbers" or key.endswith(PATHS)


def identifying(config: Mapping[str, object]) -> dict[str, object]:
    """The values that a run's numbers depend on, by their dotted keys."""
    return {key: value for key, value in leaves(config) if not is_elsewhere(key)}


def identity(config: Mapping[str, object], *beside: str) -> str:
    """Name a run by eight hexadecimal digits: the same for the same numbers.

    `beside` tells apart what the config alone does not.
    """
    text = json.dumps([identifying(config), sorted(beside)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def differences(
    before: Mapping[str, object], after: Mapping[str, object]
) -> dict[str, tuple[object, object]]:
    """Where two configs differ in more than where they compute: before and after, by key.

    A key that one of them lacks is None there.
    """
    one, other = identifying(before), identifying(after)
    keys = dict.fromkeys((*one, *other))
    return {key: (one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)}
