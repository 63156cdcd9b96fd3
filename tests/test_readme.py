"""Every command and script of the README runs, shortened."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from metaloop.cli.hydra_app import CONF
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
ALGORITHM, SCRIPT = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
# what cannot run in a test, and why
INSTALLS = ("make", "source")  # this environment is what they made
NEEDS_ACCOUNT = ("wandb sync",)
SHARED = Path(os.environ.get("METALOOP_SHARED_DATA", ROOT.parent / "shared" / "data"))
# the shared data, and the fixture of its name, that a folder in the commands stands for
NEEDS_DATA = {"DATA": "omniglot", "CIFAR": "cifar100"}
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


def shortened(command: str, folder: Path | None) -> str:
    command = command.replace("FOLDER", str(folder)).replace("IMAGES", "images")
    command = command.replace("SWEEP", "outputs/multirun/*")
    if command.startswith("metaloop-resume") and "max_steps" in command:
        return re.sub(r"max_steps=\d+", "max_steps=6", command)
    if "metaloop-train" in command and "--help" not in command:
        return " ".join([command, *SHORTER])
    if command.startswith("metaloop-evaluate"):
        return f"{command} evaluation.episodes=4"
    return command


def run(command: str, cwd: Path) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "METALOOP_CACHE": str(cwd.parent / "readme-cache")}
    return subprocess.run(
        command, shell=True, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_the_commands_run_one_after_the_other(tmp_path, request):
    configs = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    places = re.findall(r"`(mine/.*?\.yaml)`", README)
    for place, config in zip(places, configs, strict=True):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(config)
    (tmp_path / "own_algorithm.py").write_text(ALGORITHM)
    (tmp_path / "own.py").write_text(SCRIPT.split("pl.seed_everything")[0])
    folder = None
    save_images(tmp_path)
    for command in COMMANDS:
        if command.startswith((*INSTALLS, *NEEDS_ACCOUNT)):
            continue
        needs = [word for word in NEEDS_DATA if word in command]
        if not all((SHARED / NEEDS_DATA[word]).exists() for word in needs):
            continue  # where the data is not, the commands that need it are left out
        for word in needs:
            data = request.getfixturevalue(NEEDS_DATA[word])
            command = command.replace(word, str(data))
        done = run(shortened(command, folder), tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        made = sorted((tmp_path / "outputs").glob("2*"), key=lambda path: path.stat().st_ctime)
        # evaluations and resumes follow a plain run of sinusoids
        plain = [p for p in made if p.name.endswith("sinusoid_maml")]
        folder = plain[-1] if plain else folder
        if folder is None and made:
            folder = made[-1]


def test_the_script_for_ones_own_model_and_episodes_learns(tmp_path):
    assert len([line for line in SCRIPT.split("pl.seed_everything")[1].splitlines() if line]) < 20
    (tmp_path / "own.py").write_text(SCRIPT)
    done = run("python own.py", tmp_path)
    assert done.returncode == 0, done.stderr
    losses = [float(x) for x in re.findall(r"inner steps: ([\d.]+)", done.stdout)]
    assert len(losses) == 6
    # lines of random slope: unadapted they are missed by their variance, adapted they are met
    assert losses[0] > 0.5
    assert losses[-1] < 0.1


def test_every_algorithm_and_experiment_has_its_row():
    for path in (CONF / "algorithm").glob("*.yaml"):
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
