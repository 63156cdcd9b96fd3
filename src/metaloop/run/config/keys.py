"""The effect of each key of a config: what it changes, and for which commands.

Imports no torch, so that commands stay fast.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple


class Effect(NamedTuple):
    """What a key changes in the results, and the commands that read it."""

    changes: Literal["numbers", "precision", "last_bits", "nothing"] = "numbers"
    commands: tuple[str, ...] = ("train", "evaluate", "adapt")


TRAIN, EVALUATE = ("train",), ("train", "evaluate")
# A key has the effect of its longest prefix here. All others change the numbers of all commands.
EFFECTS = {
    "format": Effect("nothing"),
    "command": Effect("nothing"),
    "run_id": Effect("nothing"),
    "output_dir": Effect("nothing"),
    "published": Effect("nothing"),
    "published_where": Effect("nothing"),
    "logger": Effect("nothing", TRAIN),
    "init_from": Effect("numbers", TRAIN),
    "optimizer": Effect("numbers", TRAIN),
    "scheduler": Effect("numbers", TRAIN),
    "training": Effect("numbers", TRAIN),
    "callbacks": Effect("numbers", TRAIN),
    "evaluation": Effect("numbers", EVALUATE),
    "data": Effect("numbers", EVALUATE),
    "data.meta_batch_size": Effect("numbers", TRAIN),
    "data.validation_episodes": Effect("numbers", TRAIN),
    "data.eval_meta_batch_size": Effect("nothing", EVALUATE),
    "data.workers": Effect("nothing", EVALUATE),
    "device": Effect("nothing"),
    "device.accelerator": Effect("last_bits"),
    "device.precision": Effect("precision"),
    "device.matmul_precision": Effect("precision"),
    "device.tasks_at_once": Effect("last_bits"),
    "device.chunks_at_once": Effect("last_bits"),
    "device.compile": Effect("last_bits"),
    "device.deterministic": Effect("last_bits"),
}


def effect_of(key: str) -> Effect:
    """Return the effect of a dotted key."""
    while key not in EFFECTS and "." in key:
        key = key.rpartition(".")[0]
    return EFFECTS.get(key, Effect())


def key_of(override: str) -> str:
    """Return the dotted key that an override sets, adds or deletes."""
    return override.lstrip("+~").partition("=")[0]


def leaves(value: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield a config's values by their dotted keys."""
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from leaves(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner
