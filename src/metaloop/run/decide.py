"""Decide a config's keys that are `auto` by measuring, once, before meta-step 0."""

import os
import time

import torch
from pytorch_lightning.utilities import rank_zero_only

from metaloop.folders.run_folder import RunFolder
from metaloop.meta_gradient import Way, draw_episodes, find_fastest
from metaloop.run.config.build import Pieces, build_meta_learner
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.write import write_config
from metaloop.user_text import say

POLL_SECONDS = 0.5


def decide(folder: RunFolder, pieces: Pieces) -> Pieces:
    """Decide which values replace `auto` in `device`, and write them into the config.

    These are tasks_at_once, chunks_at_once and compile. The first process measures on its share of
    the first meta-batch (of the largest shape if shapes vary) and discards the gradients; the
    others wait for its decision. A resumed run reads the decision.
    """
    config = pieces.config
    if not config.device.is_open:
        return pieces
    if vars(rank_zero_only).get("rank", 0) == 0:
        config = config.changed(device=_measure(pieces)._asdict())
        write_config(folder, config.content)
    else:  # if the first process dies, the launcher ends this one too
        while config.device.is_open:
            time.sleep(POLL_SECONDS)
            config = RunConfig.read(folder)
    learner = build_meta_learner(config, pieces.algorithm)
    return pieces._replace(config=config, meta_learner=learner)


def _measure(pieces: Pieces) -> Way:
    say("Measuring how this machine computes a meta-gradient fastest ..")
    device, data, seed = pieces.config.device, pieces.datamodule, pieces.config.seed
    if device.deterministic:  # Lightning sets it too, but cuBLAS reads it at its first call
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    data.prepare_data()
    data.setup("fit")
    share = data.meta_batch_size // device.processes()
    where = device.torch_device()
    learner = pieces.meta_learner.to(where)
    *_, largest = pieces.task.extremes()
    dtype = next(iter(learner.meta.values())).dtype
    episodes = draw_episodes(largest, seed, share, where, dtype)
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
    return way
