"""What many tests need: shared data, composed runs, commands as a user starts them."""

import copy
import functools
import gc
import importlib
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import filelock
import matplotlib as mpl
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from metaloop.cli.hydra_app import CONF
from metaloop.folders.run_folder import RunFolder
from metaloop.process.slurm_requeue import NO_REQUEUE
from metaloop.run.config.write import write_run
from tests.warm_start import WarmStart

ROOT = Path(__file__).resolve().parents[1]
WARM = WarmStart()
LONG = (
    "tests/docs/",
    "tests/cli/",
    "tests/run/",
    "tests/meta_gradient/test_compiled.py",
    "tests/test_configuration.py",
)
needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler to compile with"
)
mpl.use("agg")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first: at the end one process would run them alone."""
    places = [*LONG, ""]
    items.sort(key=lambda item: next(i for i, p in enumerate(places) if item.nodeid.startswith(p)))


def pytest_collection_finish() -> None:
    """What has been imported is not garbage: the collector need not look at it again and again."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _one_thread_and_no_network(monkeypatch):
    """Tests share the machine with each other, and W&B stays offline."""
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("WANDB_MODE", "offline")


def shared(name: str) -> Path:
    """A folder of the shared data; skips the test, saying why, where it is missing."""
    place = os.environ.get("METALOOP_SHARED_DATA")
    folder = Path(place) / name if place else ROOT.parent / "shared" / "data" / name
    if not folder.exists():
        pytest.skip(f"no shared data: {folder} is missing (METALOOP_SHARED_DATA names its parent)")
    return folder


@pytest.fixture(scope="session")
def omniglot() -> Path:
    """The real Omniglot archives."""
    return shared("omniglot")


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """One cache of decoded images for a session's tests."""
    return tmp_path_factory.getbasetemp().parent / "metaloop-test-cache"


@pytest.fixture(scope="session")
def cifar100(cache) -> Path:
    """CIFAR-100 in its official layout, unpacked once for a session's tests."""
    shared("cifar100")
    folder = cache / "cifar100"
    cache.mkdir(exist_ok=True)
    with filelock.FileLock(cache / "cifar100.lock"):
        if not folder.exists():
            unpacking = folder.with_name("cifar100.unpacking")
            script = shared("unpack_cifar100.py")
            subprocess.run([sys.executable, str(script), str(unpacking)], check=True)
            unpacking.rename(folder)
    return folder


@pytest.fixture(scope="session")
def made_up_mini_imagenet(cache) -> Path:
    """Pickles in miniImageNet's layout: every class a colour of its own and noise."""
    folder = cache / "mini-imagenet"
    cache.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    with filelock.FileLock(cache / "mini-imagenet.lock"):
        for split, classes in (("train", 64), ("val", 16), ("test", 20)):
            path = folder / f"mini-imagenet-cache-{split}.pkl"
            if not path.exists():
                folder.mkdir(exist_ok=True)
                colours = random.integers(0, 200, (classes, 1, 1, 1, 3))
                images = colours + random.integers(0, 50, (classes, 20, 84, 84, 3))
                rows = {f"n{split}{c}": list(range(20 * c, 20 * c + 20)) for c in range(classes)}
                data = images.astype(np.uint8).reshape(-1, 84, 84, 3)
                path.write_bytes(pickle.dumps({"image_data": data, "class_dict": rows}))
    return folder


@pytest.fixture(scope="session")
def reference() -> dict[str, np.ndarray]:
    """Meta-gradients of an independent float64 implementation."""
    place = os.environ.get("METALOOP_SHARED_DATA")
    shared_root = Path(place).parent if place else ROOT.parent / "shared"
    path = shared_root / "reference" / "meta_gradients.npz"
    if not path.exists():
        pytest.skip(f"no reference values: {path} is missing")
    with np.load(path) as arrays:
        return dict(arrays)


def composed(*overrides: str) -> dict[str, object]:
    """What metaloop-train would write for these arguments."""
    return copy.deepcopy(_composed(overrides))


@functools.cache  # a tenth of a second, and many tests have the same arguments
def _composed(overrides: tuple[str, ...]) -> dict[str, object]:
    from metaloop.run.config.read import FORMAT, plain

    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = plain(compose("train", list(overrides)))
    for key in ("output_dir", "compose_only", "check_only", "objective"):  # the command's own
        del config[key]
    return {"format": FORMAT, "command": "train", "run_id": "testrun1", **config}


SMALL = ("experiment=smoke", "logger=csv", "callbacks=minimal", "device=cpu")


@pytest.fixture
def make_run(tmp_path) -> Callable[..., RunFolder]:
    """Write a small run's folder; arguments are overrides."""

    def make(*overrides: str) -> RunFolder:
        arguments = [*SMALL, *overrides]
        return write_run(composed(*arguments), arguments, tmp_path / "outputs", "run")

    return make


@pytest.fixture
def untrained(make_run) -> Callable[..., RunFolder]:
    """A run folder with a checkpoint of moved weights; arguments are overrides."""

    def make(*overrides: str) -> RunFolder:
        from metaloop.run.config.build import build
        from metaloop.run.config.run_config import RunConfig

        folder = make_run(*overrides)
        learner = build(RunConfig.read(folder)).meta_learner
        torch.manual_seed(3)
        weights = {
            n: p + 0.1 * torch.randn_like(p) if p.is_floating_point() else p
            for n, p in learner.state_dict().items()
        }
        folder.checkpoints.mkdir()
        torch.save({"state_dict": weights, "global_step": 7}, folder.last_checkpoint)
        return folder

    return make


def striped(ways: int, shots: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of noise, each class with its own period of bright stripes."""
    x = np.random.default_rng(seed).integers(0, 100, (ways, shots, 1, 28, 28), dtype=np.uint8)
    for c in range(ways):
        x[c, :, 0, :, :: c + 2] += 150
    return x.reshape(-1, 1, 28, 28), np.repeat(np.arange(ways), shots)


@pytest.fixture
def said(monkeypatch, capsys) -> Callable[..., object]:
    """Run a command in this process, for what ends before there is a worker; what it said."""

    def say(command: str, *arguments: str, status: int = 0) -> object:
        monkeypatch.setattr(sys, "argv", [f"metaloop-{command}", *arguments])
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.setenv(NO_REQUEUE, "1")  # as the command does, which forgets it with its end
        main = importlib.import_module(f"metaloop.cli.{command}").main
        with pytest.raises(SystemExit) if status else nullcontext() as stop:
            main()
        assert stop is None or stop.value.code == status
        return capsys.readouterr()

    return say


def run_command(
    *arguments: str, timeout: float = 240, cold: bool = False, **kwargs
) -> subprocess.CompletedProcess:
    """Run one of the installed commands, or python with arguments, and return what it said.

    A command of ours, and a script or module, starts with its imports done, unless `cold`.
    """
    is_ours = arguments[0].startswith("metaloop-")
    if not cold and (is_ours or (arguments[0] == "python" and arguments[1] != "-c")):
        return WARM.run(*arguments, timeout=timeout, **kwargs)
    program = Path(sys.executable).parent / arguments[0]
    return subprocess.run(
        [str(program), *arguments[1:]],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **kwargs,
    )
