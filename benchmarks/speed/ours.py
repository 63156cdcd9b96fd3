"""The same meta-step by metaloop: the bare step, and metaloop-train with everything around it."""

import csv
import ctypes
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from speed.work import META_LR, Step, Work

from metaloop.algorithms import maml
from metaloop.episode import Episode, Examples
from metaloop.inner_loop import Objective
from metaloop.meta_gradient import AtOnce, CompiledChunkGradient, meta_gradient
from metaloop.models import MLP, Conv4
from metaloop.process.malloc import M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, keep_freed_memory

LOGGED = "train/episodes_per_second"
BY_DEFAULT = AtOnce(tasks_at_once="by_size", chunks_at_once="by_size")


@contextmanager
def memory_of(who: str) -> Iterator[None]:
    """Configure malloc as in a run for metaloop; afterwards restore glibc's own thresholds."""
    if not who.startswith("metaloop"):
        yield
        return
    keep_freed_memory()
    try:
        yield
    finally:
        if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
            mallopt(M_MMAP_THRESHOLD, 2**25)
            mallopt(M_TRIM_THRESHOLD, 2**26)


def one_arena() -> None:
    """Limit malloc to one arena for all threads, as a run does, before threads have their own.

    Peers compute in one thread and are not affected.
    """
    with memory_of("metaloop"):
        pass


def bare_step(work: Work, *, compile: bool) -> Step:
    """Make a step of meta_gradient and Adam, as in MetaLearner."""
    if work.sequence is not None:
        model = work.network()  # torch's own layers, unchanged
    elif work.image is None:
        model = MLP(1, 1, hidden=[work.width, work.width])
    else:
        shape = {"filters": work.width, "downsample": work.downsample}
        model = Conv4(work.image, work.ways, **shape)
    model.to(work.device)
    with torch.no_grad():
        pairs = zip(model.parameters(), work.network().parameters(), strict=True)
        for p, q in pairs:
            p.copy_(q)
    steps = {"inner_steps": work.inner_steps, "eval_inner_steps": work.inner_steps}
    objective = Objective(model=model, loss=work.loss)
    algorithm = maml(objective, inner_lr=work.inner_lr, **steps, adjoint="unrolled")
    xs, ys, xq, yq = work.sets()
    classes = torch.zeros(work.tasks, work.ways, dtype=torch.long, device=work.device)
    episodes = Episode(Examples(xs, ys), Examples(xq, yq), classes)
    of_chunk = CompiledChunkGradient() if compile else None
    meta = dict(model.named_parameters())
    optimizer = torch.optim.Adam(model.parameters(), lr=META_LR, fused=True)

    def step() -> list[torch.Tensor]:
        gradient, _ = meta_gradient(algorithm, meta, episodes, **BY_DEFAULT, of_chunk=of_chunk)
        for name, p in meta.items():
            p.grad = gradient[name]
        optimizer.step()
        return list(gradient.values())

    return step


def whole_loop(
    work: Work, data_dir: Path | None, meta_steps: int, threads: int, compiles: bool
) -> float | None:
    """Return the seconds per meta-step of metaloop-train, with W&B offline and a progress bar.

    None if it has no such task or no data.

    The first log window is left out, since it contains the compilation. Only Omniglot's images are
    real; the cost does not depend on their content.
    """
    if not work.train or (work.is_omniglot and data_dir is None):
        return None
    with tempfile.TemporaryDirectory() as folder:
        place: list[str] = []
        if work.is_omniglot:
            place = [f"task.data_dir={data_dir}"]
        elif work.image is not None:
            images = noise(work.image, Path(folder) / "noise")
            place = [f"task.data_dir={images}", f"task.cache_dir={folder}/cache"]
        length = [f"training.max_steps={meta_steps}", f"training.log_every={meta_steps // 6}"]
        never = ["training.validate_every=1000000", "training.save_every=1000000"]
        never += ["data.validation_episodes=2", "evaluation.episodes=2"]
        command = ["metaloop-train", *work.train, *place, *length, *never]
        command += ["device=cpu", f"device.compile={str(compiles).lower()}"]
        command += [f"device.threads={threads}", f"output_dir={folder}/runs"]
        program = Path(sys.executable).parent / command[0]
        subprocess.run([program, *command[1:]], check=True, capture_output=True)
        return logged_seconds(f"{folder}/runs", work.tasks)


def noise(image: tuple[int, int, int], folder: Path) -> Path:
    """Write class folders with images of noise, enough in every split for one-shot episodes."""
    channels, height, width = image
    draws = np.random.default_rng(0)
    for number in range(32 * 16):  # classes of 16
        place = folder / f"class_{number // 16:02}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = draws.integers(0, 256, (height, width, channels), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number % 16:02}.png")
    return folder


def logged_seconds(folder: str, tasks: int) -> float:
    """Return the median of seconds per meta-step over the run's log windows except the first."""
    (metrics,) = Path(folder).glob("*/metrics.csv")
    rows = [row for row in csv.DictReader(metrics.open()) if row.get(LOGGED)]
    speeds = sorted(float(row[LOGGED]) for row in rows[1:])
    return tasks / speeds[len(speeds) // 2]
