"""Every command and script of the README runs, shortened."""

import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaloop.cli.hydra_app import CONF
from metaloop.run.train import train
from tests.conftest import ROOT, WARM, striped

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
SCRIPTS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
(ALGORITHM,) = (s for s in SCRIPTS if "class SignDescent" in s)
(SCRIPT,) = (s for s in SCRIPTS if "class Lines" in s)
(LEARNER,) = (s for s in SCRIPTS if "Learner.load" in s)
# what cannot run in a test, and why
INSTALLS = ("make", "source")  # this environment is what they made
NEEDS_ACCOUNT = ("wandb ", "WANDB_MODE=online")
ON_SLURM = "metaloop-train -m hydra/launcher=submitit_slurm"
# tests/slurm has a Slurm; tests/run/test_processes.py takes one machine for two
NEEDS_CLUSTER = ("sbatch", ON_SLURM, "torchrun --nnodes")
(JOB,) = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
SHARED = Path(os.environ.get("METALOOP_SHARED_DATA", ROOT.parent / "shared" / "data"))
# the shared data that a word in the commands stands for; the first two have a fixture of its name
NEEDS_DATA = {
    "DATA": "omniglot",
    "CIFAR": "cifar100",
    "OMNIGLOT_RUN": "omniglot",
    "CLINC150": "text_intents/clinc150",
}
# proven by itself in the named test, and by itself a minute or more of this one
TAKES_LONG = {
    "device.compile=auto": "tests/run/test_decide.py",
    "hydra/launcher=": "tests/cli/sweeps/test_multirun.py",
    "hydra.sweep.dir=": "tests/cli/sweeps/test_multirun.py",
    "device.devices=2": "tests/cli/test_commands.py",
}
SHORTER = (
    "training.max_steps=4",
    "training.validate_every=2",
    "training.save_every=2",
    "data.validation_episodes=4",
    "evaluation.episodes=4",
)


def test_the_list_of_commands_is_whole():
    assert len(COMMANDS) > 15
    started = {shlex.split(c)[0] for c in COMMANDS}
    assert {"make", "metaloop-train", "metaloop-evaluate", "metaloop-resume", "python"} <= started


@pytest.mark.parametrize("target", ["train", "test", "lint", ".venv"])
def test_make_knows_its_targets(target):
    done = subprocess.run(
        ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def save_images(folder: Path) -> None:
    """Twenty classes of a colour each."""
    for c in range(20):
        for i in range(6 + c % 3):
            path = folder / "images" / f"class{c}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40 + i, 30), (12 * c, 10 * i, 0)).save(path)


def fewer_jobs(command: str) -> str:
    """A grid of half the seeds and a search of one trial: what each job does is the same."""
    command = re.sub("seed=0,1(,2)?", lambda found: "seed=0,1" if found[1] else "seed=0", command)
    return command.replace("n_trials=2", "n_trials=1")


def shortened(command: str, folder: Path | None) -> str:
    command = re.sub(r"\bFOLDER", str(folder), command).replace("IMAGES", "images")
    command = command.replace("CLINC150", str(SHARED / NEEDS_DATA["CLINC150"]))
    command = command.replace("MINE", "tables")
    command = command.replace("SWEEP", "$(ls -d outputs/multirun/* | head -n 1)")
    command = command.replace("OMNIGLOT_RUN", "$(ls -d outputs/*_omniglot_maml | head -n 1)")
    if command.startswith("metaloop-resume") and "max_steps" in command:
        return re.sub(r"max_steps=\d+", "max_steps=6", command)
    if "metaloop-train" in command and "--help" not in command:
        fewer = ["data.meta_batch_size=4"] * (
            "data_dir" in command and "meta_batch_size" not in command
        )
        # W&B takes seconds to start and to end, pictures one each: their own chapters are enough
        quick = [] if re.search("logger|WANDB", command) else ["logger=csv"]
        quick += [] if re.search("callbacks|WANDB|report", command) else ["callbacks=minimal"]
        return " ".join([fewer_jobs(command), *SHORTER, *fewer, *quick])
    if command.startswith("metaloop-evaluate"):
        return f"{command} evaluation.episodes=4"
    return command


def write_own_arrays(folder: Path) -> None:
    """A table of labelled rows, and small data sets, as a reader would bring them."""
    folder.mkdir()
    rows = [f"{i % 7},{i % 5},species {i % 15}" for i in range(150)]
    (folder / "flowers.csv").write_text("\n".join(["width,length,species", *rows]))
    task, x = np.arange(300) % 15, np.linspace(-1, 1, 300)
    np.savez(folder / "curves.npz", features=x, y=task * x, task=task)


def write_examples(place: Path) -> None:
    """What the commands adapt to: points of a sine, and striped images of two classes."""
    points = [f"{x / 2},{math.sin(x / 2)}" for x in range(-6, 7)]
    (place / "points.csv").write_text("\n".join(["x,y", *points]))
    (place / "more.csv").write_text("x\n0.3\n0.7\n")
    for i, (image, c) in enumerate(zip(*striped(2, 2), strict=True)):
        for file in (f"LABELLED/class {c}/{i}.png", f"REST/{i}.png"):
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(place / file)


def run(command: str, cwd: Path, cache: Path) -> subprocess.CompletedProcess:
    """Let a shell read it, and run what it has read with its imports done."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "METALOOP_CACHE": str(cache)}
    said = subprocess.run(
        f"printf '%s\\n' {command}",
        shell=True,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    words = said.stdout.splitlines()
    while "=" in words[0]:
        name, _, environment[name] = words.pop(0).partition("=")
    return WARM.run(*words, cwd=cwd, env=environment, timeout=1200)


def can_run(command: str) -> bool:
    """Whether a command needs nothing that is not here."""
    if command.startswith((*INSTALLS, *NEEDS_ACCOUNT, *NEEDS_CLUSTER)):
        return False
    needed = [folder for word, folder in NEEDS_DATA.items() if word in command]
    return all((SHARED / folder).exists() for folder in needed)


@pytest.mark.parametrize("is_whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_commands_run_one_after_the_other(is_whole, tmp_path, cache, request):
    configs = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    places = re.findall(r"`(mine/.*?\.yaml)`", README)
    for place, config in zip(places, configs, strict=True):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(config)
    (tmp_path / "own_algorithm.py").write_text(ALGORITHM)
    (tmp_path / "own.py").write_text(SCRIPT.split("pl.seed_everything")[0])
    write_own_arrays(tmp_path / "tables")
    write_examples(tmp_path)
    folder = None
    save_images(tmp_path)
    for command in filter(can_run, COMMANDS):
        if not is_whole and any(words in command for words in TAKES_LONG):
            continue
        for word in ("DATA", "CIFAR"):
            if word in command:
                data = request.getfixturevalue(NEEDS_DATA[word])
                command = command.replace(word, str(data))
        done = run(shortened(command, folder), tmp_path, cache)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        made = sorted((tmp_path / "outputs").glob("2*"), key=lambda path: path.stat().st_ctime)
        # evaluations and resumes follow a plain run of sinusoids
        plain = [p for p in made if p.name.endswith("sinusoid_maml")]
        folder = plain[-1] if plain else folder
        if folder is None and made:
            folder = made[-1]


def test_what_needs_a_cluster_composes(tmp_path, cache):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="no submitit launcher")
    commands = [c for c in COMMANDS if c.startswith(NEEDS_CLUSTER)]
    assert len(commands) == len(NEEDS_CLUSTER)
    (on_slurm,) = (c for c in commands if c.startswith(ON_SLURM))
    composing = on_slurm.replace(" -m ", " --cfg hydra ").replace("seed=0,1,2", "seed=0")
    done = run(composing, tmp_path, cache)
    assert done.returncode == 0, done.stderr
    assert "hydra_submitit_launcher.submitit_launcher.SlurmLauncher" in done.stdout
    assert "timeout_min: 240" in done.stdout
    subprocess.run(["bash", "-n"], input=JOB, text=True, check=True)


def test_the_script_for_ones_own_model_and_episodes_learns(tmp_path, cache):
    assert len([line for line in SCRIPT.split("pl.seed_everything")[1].splitlines() if line]) < 20
    (tmp_path / "own.py").write_text(SCRIPT)
    done = run("python own.py", tmp_path, cache)
    assert done.returncode == 0, done.stderr
    losses = [float(x) for x in re.findall(r"inner steps: ([\d.]+)", done.stdout)]
    assert len(losses) == 6
    # lines of random slope: unadapted they are missed by their variance, adapted they are met
    assert losses[0] > 0.5
    assert losses[-1] < 0.1


def test_the_script_that_adapts_a_trained_learner_predicts(tmp_path, make_run, cache):
    folder = make_run("training.max_steps=150", "algorithm.inner_lr=0.05", "optimizer.lr=0.01")
    train(folder)
    (tmp_path / "adapt.py").write_text(LEARNER.replace("FOLDER", str(folder.path)))
    done = run("python adapt.py", tmp_path, cache)
    assert done.returncode == 0, done.stderr
    assert re.search(r"y at 0: -?[\d.]+", done.stdout)
    assert float(re.search(r"R\^2: (-?[\d.]+)", done.stdout).group(1)) > 0.3


def test_every_algorithm_model_and_experiment_has_its_row():
    for path in (CONF / "algorithm").glob("*.yaml"):
        assert f"| `{path.stem}` |" in README
    for path in (CONF / "model").glob("*.yaml"):
        assert f"| `{path.stem}` |" in README
    for path in (CONF / "experiment").rglob("*.yaml"):
        name = str(path.relative_to(CONF / "experiment").with_suffix(""))
        family = re.sub(r"_\d+way_\d+shot$", "_", name)
        assert f"`{name}`" in README or f"`{family}.." in README, name


def test_the_pictures_are_there():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).is_file()


def test_the_numbers_shown_are_a_configs():
    assert "70,000 meta-steps of 25 tasks" in README
    text = (CONF / "experiment/finn2017/sinusoid.yaml").read_text()
    assert "max_steps: 70000" in text
    assert "meta_batch_size: 25" in text
