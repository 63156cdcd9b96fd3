"""What makes a run the run it is: its config without where it computes, logs and reads from.

Imports no torch: commands stay quick.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping

# They change no number beyond rounding: a run may go on on another device, logged elsewhere.
ELSEWHERE = (
    "format",
    "command",
    "run_id",
    "device",
    "logger",
    "output_dir",
    "published",
    "published_where",
)
PATH = "_dir"  # how keys of paths end
NO_NUMBER = ("data.workers", "data.eval_meta_batch_size")


def is_elsewhere(key: str) -> bool:
    """Whether a dotted key is no part of what a run is: where it computes, logs, reads from."""
    return key.split(".")[0] in ELSEWHERE or key.endswith(PATH) or key in NO_NUMBER


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


def leaves(value: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """A config's values by their dotted keys."""
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from leaves(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner
