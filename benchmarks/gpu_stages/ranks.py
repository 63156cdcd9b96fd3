"""Meta-train every algorithm with two ranks and with one: by gloo on one GPU, by NCCL on two.

Started by torchrun: -m gpu_stages.ranks DEVICE BACKEND FILE. metaloop-train gives each rank its own
GPU, so two ranks on one GPU use Lightning's DDP strategy with that GPU listed twice.
"""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import torch
from pytorch_lightning.strategies import DDPStrategy

from gpu_stages.record import Outcome, Setting, error_line, failed, passed, untested
from metaloop.training.datamodule import EpisodicDataModule
from tests.episodes import RECIPES
from tests.ranks import Blobs, learner
from tests.trainers import bare_trainer

Weights = dict[str, dict[str, torch.Tensor]]
# float64, but Adam divides rounding noise by its own size; without the average it is 1e-3 and more
TOLERANCE = 1e-8
LIMIT = 180.0  # seconds


def two_on_one_card(setting: Setting) -> Outcome:
    """Two ranks on one card by gloo, against one process."""
    return compare(setting, "gloo")


def two_cards(setting: Setting) -> Outcome:
    """Two ranks on a card each by NCCL, against one process."""
    cards = torch.cuda.device_count()
    if setting.device != "cuda" or cards < 2:
        return untested(f"NCCL over several cards: this machine has {cards}")
    return compare(setting, "nccl")


def compare(setting: Setting, backend: str) -> Outcome:
    """The largest difference in any weight of any algorithm, a share of the weight's size."""
    file = setting.folder / f"{backend}.pt"
    # not by this machine's name, which may lead nowhere
    agent = ["-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    agent += ["--nproc-per-node=2"]
    command = [sys.executable, *agent, "-m", __name__, setting.device, backend, str(file)]
    folder = Path(__file__).resolve().parents[1]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT
    )
    if done.returncode != 0:
        errors = re.findall(r"^(?:\[rank\d+\]: *)?[\w.]*Error\b.*", done.stderr, re.MULTILINE)
        raise RuntimeError(errors[0] if errors else done.stderr[-300:])
    two: Weights = torch.load(file, weights_only=True)
    one = train_all(setting.device, None)
    values, wrong = {}, []
    for name, weights in one.items():
        largest = max(
            float(((two[name][n] - p).abs() / (1 + p.abs())).max()) for n, p in weights.items()
        )
        values[name] = largest
        if not largest <= TOLERANCE:
            wrong.append(f"{name}: {largest:.1e}")
    return failed("; ".join(wrong), values) if wrong else passed(values)


def train_all(device: str, backend: str | None) -> Weights:
    """Every algorithm's weights after three meta-steps; one that cannot train is an error."""
    weights = {}
    for name in RECIPES:
        try:
            weights[name] = train(name, device, backend)
        except Exception as error:
            raise RuntimeError(f"Error in {name}: {error_line(error)}") from error
    return weights


def train(name: str, device: str, backend: str | None) -> dict[str, torch.Tensor]:
    """Three meta-steps of four tasks in float64; of two ranks each takes two tasks."""
    strategy: DDPStrategy | str = "auto"
    if backend is not None:
        of_ranks = [torch.device("cpu")] * 2
        if device == "cuda":
            of_ranks = [torch.device("cuda", i if backend == "nccl" else 0) for i in range(2)]
        strategy = DDPStrategy(
            parallel_devices=of_ranks, process_group_backend=backend, broadcast_buffers=False
        )
    accelerator = "gpu" if device == "cuda" else "cpu"
    trainer = bare_trainer(
        3, accelerator=accelerator, devices=1, strategy=strategy, precision="64-true"
    )
    module = learner(name)
    data = EpisodicDataModule(Blobs(), seed=0, meta_batch_size=4, validation_episodes=4)
    trainer.fit(module, datamodule=data)
    return {n: p.detach().cpu() for n, p in module.meta.items()}


def main() -> None:
    """Train as one of the ranks; the first writes the weights."""
    warnings.simplefilter("ignore")
    device, backend, file = sys.argv[1:]
    weights = train_all(device, backend)
    if os.environ["RANK"] == "0":
        torch.save(weights, file)


if __name__ == "__main__":
    main()
