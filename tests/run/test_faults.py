"""What breaks a run ends it with a clear message; resumed, it has the numbers it would have had."""

import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.read import load_config
from metaloop.run.train import train
from metaloop.run.worker import work
from tests.conftest import ROOT
from tests.run.stopped_runs import (
    assert_same_run,
    finish,
    saved_step,
    start,
    stop_at_random,
    weights,
    write,
)


class Once(pl.Callback):
    """A fault that happens once: not again in the resumed run."""

    def __init__(self, marker: str):
        self.marker = Path(marker)

    def strikes(self) -> bool:
        if self.marker.exists():
            return False
        self.marker.touch()
        return True


class Fails(Once):
    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 70 and self.strikes():
            raise RuntimeError("no luck")


class LimitsFiles(Once):
    """No file may grow over 12 KB from meta-step 85 on: metrics may go on, no checkpoint can."""

    def on_train_batch_start(self, trainer, *args):
        if trainer.global_step == 85 and self.strikes():
            resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, resource.RLIM_INFINITY))


class LosesFolder(pl.Callback):
    """Somebody moves the run's folder away while it trains."""

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 10:
            folder = Path(trainer.default_root_dir)
            folder.rename(folder.with_name("moved"))


class UsesUpMemory(pl.Callback):
    """Asks for more than there is."""

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 40:
            torch.empty(2**48)


class FillsDisk(Once):
    """Fills the disk that the marker is on before a step, or before a validation is drawn."""

    def __init__(self, marker: str, step: int, before: str):
        super().__init__(marker)
        self.step, self.before = step, before

    def on_train_batch_start(self, trainer, *args):
        self.fill(trainer, "step")

    def on_validation_end(self, trainer, *args):
        self.fill(trainer, "pictures")

    def fill(self, trainer, now):
        if now == self.before and trainer.global_step == self.step and self.strikes():
            with self.marker.with_name("ballast").open("wb", buffering=0) as ballast:
                try:
                    while True:
                        ballast.write(bytes(4096))
                except OSError:
                    pass


class DiesWriting(Once):
    """Kills the process in the middle of writing its checkpoint of meta-step 90."""

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        if trainer.global_step == 90 and trainer.is_global_zero and self.strikes():
            checkpoint["ballast"] = torch.zeros(50_000_000)
            part = Path(trainer.default_root_dir) / "checkpoints" / ".new.ckpt.part"
            threading.Thread(target=self.die_when_begun, args=(part,), daemon=True).start()

    def die_when_begun(self, part):
        while not part.exists() or part.stat().st_size < 1_000_000:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGKILL)


def broken(root: Path, fault: type, *overrides: str, **values) -> RunFolder:
    """A run whose first callback is a fault."""
    folder = write(root, *overrides)
    config = load_config(folder)
    node = {"_target_": f"{__name__}.{fault.__name__}", "marker": str(root / "marker"), **values}
    return write(root / "broken", *overrides, callbacks={"fault": node, **config["callbacks"]})


def test_an_exception_in_a_callback_costs_no_number(uninterrupted, tmp_path):
    folder = broken(tmp_path, Fails)
    with pytest.raises(RuntimeError, match="no luck"):
        train(folder)
    assert saved_step(folder) == 60
    train(folder)
    assert_same_run(folder, uninterrupted)


def test_a_file_that_cannot_be_written_ends_the_run_with_one_clear_message(tmp_path):
    folder = broken(tmp_path, LimitsFiles, "model.hidden=[64,64]")
    worker = start(folder)
    said = worker.communicate()[0]
    assert worker.returncode == 1
    assert "Error: a file would exceed the size limit (ulimit -f)" in said
    assert f"The checkpoint {folder.last_checkpoint} is kept. Make room. To continue:" in said
    assert f"metaloop-resume {folder.path}" in said
    assert "Traceback" not in said
    status = folder.read_status()
    assert status["state"] == "failed"
    assert "size limit" in status["error"]
    assert saved_step(folder) == 60
    assert sorted(p.name for p in folder.checkpoints.iterdir() if p.is_file()) == [
        "best.ckpt",
        "last.ckpt",
        "previous.ckpt",
    ]


def failing(root: Path, fault: type) -> RunFolder:
    return write(root, f"+callbacks.fault._target_={__name__}.{fault.__name__}")


def test_a_folder_that_is_moved_away_ends_the_run_in_words_and_is_not_made_anew(tmp_path, capsys):
    folder = failing(tmp_path, LosesFolder)
    assert work([str(folder.path)]) == 1
    said = capsys.readouterr().err
    assert f"Error: the folder is missing ({folder.path}" in said
    assert "Restore what was moved or removed." in said
    assert not folder.path.exists()
    back = RunFolder((tmp_path / "moved").rename(folder.path))
    assert back.state() == "running"  # nobody could write otherwise


def test_memory_that_is_used_up_ends_the_run_in_words(tmp_path, capsys):
    folder = failing(tmp_path, UsesUpMemory)
    assert work([str(folder.path)]) == 1
    said = capsys.readouterr().err
    assert "Error: the memory is used up" in said
    assert "device.tasks_at_once=1" in said
    assert f"The checkpoint {folder.last_checkpoint} is kept" in said
    assert f"metaloop-resume {folder.path}" in said
    assert folder.state() == "failed"


IN_A_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
# mounts a file system of 2 MB that only its own processes see, and copies the run out of it
IN_A_SMALL_DISK = """
mount -t tmpfs -o size=2m tmpfs "$1" && cp -r "$2" "$1/run" && "$3" -m metaloop.run "$1/run"
status=$?
rm -f "$1/ballast"
cp -r "$1/run" "$4"
exit $status
"""


def namespaces_can_be_had() -> bool:
    mount = [*IN_A_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "before", "kept"),
    [
        (89, "step", "is kept."),  # the next to be written: the checkpoint of 90
        (25, "step", "No checkpoint had been saved."),  # the same of 30
        (38, "step", "is kept."),  # the first row of a validation, at 40
        (40, "pictures", "is kept."),
    ],
)
def test_a_full_disk_costs_no_number(step, before, kept, uninterrupted, tmp_path):
    if not namespaces_can_be_had():
        pytest.skip("no file system can be mounted here: unshare --user --mount is not permitted")
    disk = tmp_path / "disk"
    disk.mkdir()
    folder = write(tmp_path)
    node = {"_target_": f"{__name__}.FillsDisk", "marker": f"{disk}/marker"}
    node |= {"step": step, "before": before}
    pictures = {"_target_": "metaloop.Pictures"}
    callbacks = {"fault": node, "pictures": pictures, **load_config(folder)["callbacks"]}
    folder = write(tmp_path / "broken", callbacks=callbacks)
    arguments = [str(disk), str(folder.path), sys.executable, str(tmp_path / "saved")]
    done = subprocess.run(
        [*IN_A_NAMESPACE, "sh", "-c", IN_A_SMALL_DISK, "sh", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Error: the disk is full" in done.stderr
    assert kept in done.stderr
    assert "Traceback" not in done.stderr
    saved = RunFolder(tmp_path / "saved")
    (disk / "marker").touch()  # the marker was on the disk that is gone
    finish(saved)
    assert_same_run(saved, uninterrupted)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_weights_rows_and_results(
    uninterrupted, tmp_path
):
    folder = broken(tmp_path, DiesWriting, "data.workers=2")
    worker = start(folder)
    worker.communicate(timeout=120)
    assert worker.returncode == -signal.SIGKILL
    part = folder.checkpoints / ".new.ckpt.part"
    assert 1_000_000 <= part.stat().st_size < 200_000_000
    assert saved_step(folder) == 60
    dice = random.Random(0)
    for _ in range(2):
        stop_at_random(folder, 1, dice, 1.0, tmp_path / "log")
    finish(folder)
    assert_same_run(folder, uninterrupted)
    assert not part.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "device", "workers", "steps"),  # more than 20 times 1.5 s are enough for
    [(1, "cpu", 0, 6000), (1, "cpu", 2, 6000), (2, "ddp", 0, 3000)],
)
def test_stopped_at_twenty_random_moments_in_a_row(processes, device, workers, steps, tmp_path):
    arguments = (
        f"training.max_steps={steps}",
        f"scheduler.T_max={steps}",
        "training.validate_every=500",
        f"device={device}",
        "device.accelerator=cpu",
        f"data.workers={workers}",
    )
    whole, folder = write(tmp_path / "whole", *arguments), write(tmp_path / "parts", *arguments)
    finish(whole)
    dice = random.Random(processes + workers)
    for number in range(20):
        said = stop_at_random(folder, processes, dice, 1.5, tmp_path / "log")
        print(f"{processes} processes, {workers} workers, stop {number + 1}: {said}", flush=True)
    finish(folder)
    assert_same_run(folder, whole)
    same = weights(folder.last_checkpoint)
    print(
        f"{saved_step(folder)} meta-steps, {len(same)} tensors bit for bit those of the whole run"
    )
