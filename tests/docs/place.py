"""A folder to try a document's commands in: what they stand on, and how they are shortened."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import ROOT, WARM, striped
from tests.docs.document import Document

# what cannot run in a test, and why
INSTALLS = ("make", "source", "pip")  # this environment is what they made
NEEDS_ACCOUNT = ("wandb ", "WANDB_MODE=online")
ON_SLURM = "metaloop-train -m hydra/launcher=submitit_slurm"
# tests/slurm has a Slurm; tests/run/test_processes.py takes one machine for two
NEEDS_CLUSTER = ("sbatch", ON_SLURM, "torchrun --nnodes")
SHARED = Path(os.environ.get("METALOOP_SHARED_DATA", ROOT.parent / "shared" / "data"))
# the shared data that a word in the commands stands for
NEEDS_DATA = {
    "DATA": "omniglot",
    "OMNIGLOT_RUN": "omniglot",
    "FIELD_RUN": "omniglot",
    "CIFAR": "cifar100",
    "CLINC150": "text_intents/clinc150",
    "CLINC150_RUN": "text_intents/clinc150",
}
FIXTURES = {
    "DATA": "omniglot",
    "OMNIGLOT_RUN": "omniglot",
    "FIELD_RUN": "omniglot",
    "CIFAR": "cifar100",
}
# what a word stands for that the reader has made before, here or on another page
MADE_BY = {
    "FOLDER": ("outputs/2*", "metaloop-train"),
    "SWEEP": ("outputs/multirun/*", "metaloop-train -m algorithm=maml,fomaml seed=0"),
    "CLINC150_RUN": (
        "outputs/*_clinc150_pretrain",
        "metaloop-train algorithm=pretrain task=clinc150 task.data_dir=CLINC150",
    ),
    "OMNIGLOT_RUN": ("outputs/*_omniglot_maml", "metaloop-train task=omniglot task.data_dir=DATA"),
    "FIELD_RUN": (
        "outputs/*_image_field_maml",
        "metaloop-train experiment=image_field task.of.data_dir=DATA",
    ),
}
SHORTER = (
    "training.max_steps=4",
    "training.validate_every=2",
    "training.save_every=2",
    "data.validation_episodes=4",
    "evaluation.episodes=4",
)


def can_run(command: str) -> bool:
    """Whether a command needs nothing that is not here."""
    if command.startswith((*INSTALLS, *NEEDS_ACCOUNT, *NEEDS_CLUSTER)):
        return False
    needed = [folder for word, folder in NEEDS_DATA.items() if names(command, word)]
    return all((SHARED / folder).exists() for folder in needed)


def names(text: str, word: str) -> bool:
    return re.search(rf"\b{word}\b", text) is not None


def words_of_data(commands: list[str]) -> dict[str, str]:
    """The fixtures of the data that the commands name, by the word for it."""
    said = " ".join(commands)
    needed = {word: fixture for word, fixture in FIXTURES.items() if names(said, word)}
    return {"DATA" if word.endswith("_RUN") else word: name for word, name in needed.items()}


def shortened(command: str) -> str:
    if command.startswith("metaloop-resume") and "max_steps" in command:
        return re.sub(r"max_steps=\d+", "max_steps=6", command)
    if "metaloop-train" in command and "--help" not in command:
        fewer = ["data.meta_batch_size=4"] * (
            "data_dir" in command and "meta_batch_size" not in command
        )
        # W&B takes seconds to start and to end, pictures one each: their own pages are enough
        quick = [] if re.search("logger|WANDB", command) else ["logger=csv"]
        quick += [] if re.search("callbacks|WANDB|report", command) else ["callbacks=minimal"]
        return " ".join([_fewer_jobs(command), *SHORTER, *fewer, *quick])
    if command.startswith("metaloop-evaluate"):
        return f"{command} evaluation.episodes=4"
    return command


def _fewer_jobs(command: str) -> str:
    """A grid of half the seeds and a search of one trial: what each job does is the same."""
    command = re.sub("seed=0,1(,2)?", lambda found: "seed=0,1" if found[1] else "seed=0", command)
    return command.replace("n_trials=2", "n_trials=1").replace("inner_steps=1,3,5", "inner_steps=1")


class Place:
    """A folder with the document's files, data, and what its commands make."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, cache
        self.data = {"CLINC150": SHARED / NEEDS_DATA["CLINC150"]}  # and what a test adds
        _write_images(folder)
        _write_arrays(folder / "MINE")
        _write_examples(folder)

    def follow(self, document: Document, command: str) -> subprocess.CompletedProcess:
        """Run a command of the document, after whatever makes what it names."""
        said = " ".join([command, *document.files.values()])
        for word, (pattern, makes) in MADE_BY.items():
            if names(said, word) and not any(self.folder.glob(pattern)) and makes != command:
                done = self.run(makes)
                assert done.returncode == 0, f"{makes}\n{done.stdout}\n{done.stderr}"
        for path, text in document.files.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_text(self._named(text))
        return self.run(command)

    def run(self, command: str) -> subprocess.CompletedProcess:
        """Let a shell read it, and run what it has read with its imports done."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "METALOOP_CACHE": str(self.cache)}
        said = subprocess.run(
            f"printf '%s\\n' {self._named(shortened(command))}",
            shell=True,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        words = said.stdout.splitlines()
        while "=" in words[0]:
            name, _, environment[name] = words.pop(0).partition("=")
        return WARM.run(*words, cwd=self.folder, env=environment, timeout=1200)

    def _named(self, text: str) -> str:
        """The text with the newest of what its words stand for."""
        for word, (pattern, _) in MADE_BY.items():
            made = sorted(self.folder.glob(pattern), key=lambda path: path.stat().st_ctime)
            # evaluations and resumes follow a plain run of sinusoids
            plain = [path for path in made if path.name.endswith("sinusoid_maml")]
            if made:
                text = re.sub(rf"\b{word}\b", str((plain or made)[-1]), text)
        for word, place in self.data.items():
            text = re.sub(rf"\b{word}\b", str(place), text)
        return text


def _write_images(folder: Path) -> None:
    """Twenty classes of a colour each."""
    for c in range(20):
        for i in range(6 + c % 3):
            path = folder / "IMAGES" / f"class{c}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40 + i, 30), (12 * c, 10 * i, 0)).save(path)


def _write_arrays(folder: Path) -> None:
    """A table of labelled rows, and small data sets, as a reader would bring them."""
    folder.mkdir()
    rows = [f"{i % 7},{i % 5},species {i % 15}" for i in range(150)]
    (folder / "flowers.csv").write_text("\n".join(["width,length,species", *rows]))
    task, x = np.arange(300) % 15, np.linspace(-1, 1, 300)
    np.savez(folder / "curves.npz", features=x, y=task * x, task=task)


def _write_examples(folder: Path) -> None:
    """What the commands adapt to: points of a sine, and striped images of two classes."""
    points = [f"{x / 2},{math.sin(x / 2)}" for x in range(-6, 7)]
    (folder / "points.csv").write_text("\n".join(["x,y", *points]))
    (folder / "more.csv").write_text("x\n0.3\n0.7\n")
    Image.fromarray(striped(1, 1)[0][0, 0]).save(folder / "photo.png")
    for i, (image, c) in enumerate(zip(*striped(2, 2), strict=True)):
        for file in (f"LABELLED/class {c}/{i}.png", f"REST/{i}.png"):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).convert("RGB").save(folder / file)
