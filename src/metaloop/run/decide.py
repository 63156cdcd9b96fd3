"""What a run's config leaves to be measured, decided once, before meta-step 0."""

import time
from collections.abc import Mapping
from typing import Any, cast

import torch
from pytorch_lightning.utilities import rank_zero_only

from metaloop.folders.run_folder import RunFolder
from metaloop.meta_gradient import Way, draw_episodes, find_fastest
from metaloop.run.config.build import Pieces, build
from metaloop.run.config.read import load_config
from metaloop.run.config.write import write_config
from metaloop.user_text import say

POLL_SECONDS = 0.5


def decide(folder: RunFolder, config: dict[str, object], pieces: Pieces) -> Pieces:
    """Settle what of `device` is auto (tasks_at_once, chunks_at_once, compile), and write it.

    The first process measures on its share of the first meta-batch (of the largest shape where
    shapes vary), whose weights and gradients are thrown away; the others wait for its word. A
    resumed run reads it and decides nothing.
    """
    if not pieces.device.is_open:
        return pieces
    if vars(rank_zero_only).get("rank", 0) == 0:
        _measure(config, pieces)
        write_config(folder, config)
    else:
        _wait(folder, config)
    return build(config)


def _measure(config: dict[str, object], pieces: Pieces) -> None:
    say("Measuring how this machine computes a meta-gradient fastest ..")
    device, data, where = pieces.device, pieces.datamodule, pieces.device.torch_device()
    data.prepare_data()
    data.setup("fit")
    share = data.meta_batch_size // device.processes()
    learner = pieces.meta_learner.to(where)
    *_, largest = pieces.task.extremes()
    dtype = next(iter(learner.meta.values())).dtype
    episodes = draw_episodes(largest, pieces.seed, share, where, dtype)
    with torch.autocast(where.type, torch.bfloat16, enabled=device.precision == "bf16-mixed"):
        way = find_fastest(
            learner.algorithm.at(0).for_ways(episodes.classes.shape[-1]),
            {name: p.detach() for name, p in learner.meta.items()},
            episodes,
            tasks_at_once=None if device.tasks_at_once == "auto" else device.tasks_at_once,
            chunks_at_once=None if device.chunks_at_once == "auto" else device.chunks_at_once,
            compile=None if device.compile == "auto" else device.compile,
            announce=lambda message: say(f"  {message}"),
        )
    said = (f"device.{name}={str(value).lower()}" for name, value in way._asdict().items())
    say("Decided:", *said)
    _put(config, way)


def _wait(folder: RunFolder, config: dict[str, object]) -> None:
    """Wait for the first process; if it dies, what has started the processes ends this one too."""
    while "auto" in (way := _way(load_config(folder))):
        time.sleep(POLL_SECONDS)
    _put(config, way)


def _way(config: Mapping[str, object]) -> Way:
    device = cast(Mapping[str, Any], config["device"])
    return Way(*(cast(Any, device.get(name)) for name in Way._fields))


def _put(config: dict[str, object], way: Way) -> None:
    config["device"] = {**cast(Mapping[str, object], config["device"]), **way._asdict()}
