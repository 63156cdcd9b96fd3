"""Compare a deterministic run that is killed and resumed with one that is not."""

import subprocess
import time
from pathlib import Path

import torch
from speed.ours import noise

from gpu_stages.commands import finish, last_line, run, start
from gpu_stages.record import Outcome, Setting, failed, passed

LAST = "checkpoints/last.ckpt"
POLL = 0.02


def killed_and_resumed(setting: Setting) -> Outcome:
    """Train twice alike, kill the second (kill -9) and resume it: the same weights, bit by bit."""
    images = noise((3, 28, 28), setting.folder / "noise")
    steps, save = (120, 10) if setting.tiny else (300, 50)
    arguments = [
        "task=image_folder",
        f"task.data_dir={images}",
        f"task.cache_dir={setting.folder / 'cache'}",
        "task.image_size=28",
        "task.queries=1",
        f"model.filters={4 if setting.tiny else 64}",
        "model.downsample=stride",
        "data.meta_batch_size=4",
        "data.validation_episodes=4",
        "evaluation.episodes=4",
        f"training.max_steps={steps}",
        f"training.save_every={save}",
        f"training.log_every={save}",
        f"training.validate_every={steps}",
        f"device={'gpu' if setting.device == 'cuda' else 'cpu'}",
        "device.deterministic=true",
        "logger=csv",
        "callbacks=minimal",
    ]
    whole, killed = setting.folder / "whole", setting.folder / "killed"
    log = setting.folder / "resumed.log"
    run("train", *arguments, f"output_dir={whole}", log=log, runs=whole)
    process = start("train", *arguments, f"output_dir={killed}", log=log)
    folder = kill_after_checkpoint(process, killed, log)
    at = step_of(folder)
    log.unlink()
    finish(start("resume", str(folder), log=log), log, killed, 600.0)
    if f"Resuming at meta-step {at}" not in log.read_text():
        return failed(f"it did not resume at meta-step {at}: {last_line(log)}", {})
    (other,) = whole.iterdir()
    different = [n for n, (one, two) in pairs(other, folder).items() if not torch.equal(one, two)]
    values = {"meta_steps": steps, "killed_after_saving_meta_step": at, "different": different}
    if different or not 0 < at < steps:
        return failed(f"{len(different)} tensors differ", values)
    return passed(values)


def kill_after_checkpoint(process: subprocess.Popen[bytes], runs: Path, log: Path) -> Path:
    """Kill a run as soon as it has saved a checkpoint; return its folder."""
    while not (saved := list(runs.glob(f"*/{LAST}"))):
        if process.poll() is not None:
            raise RuntimeError(f"ended before its first checkpoint: {last_line(log)}")
        time.sleep(POLL)
    process.kill()
    process.wait()
    return saved[0].parents[1]


def step_of(folder: Path) -> int:
    """The meta-step of a run's last checkpoint."""
    return int(torch.load(folder / LAST, weights_only=True, map_location="cpu")["global_step"])


def pairs(one: Path, other: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The weights that two runs ended with, and the states of their optimizers."""
    found = []
    for folder in (one, other):
        content = torch.load(folder / LAST, weights_only=True, map_location="cpu")
        tensors = dict(content["state_dict"])
        for number, state in content["optimizer_states"][0]["state"].items():
            tensors |= {f"optimizer {number} {n}": torch.as_tensor(v) for n, v in state.items()}
        found.append(tensors)
    if found[0].keys() != found[1].keys():
        raise RuntimeError("the two checkpoints hold different tensors")
    return {name: (found[0][name], found[1][name]) for name in found[0]}
