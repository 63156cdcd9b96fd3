"""What an exported file says of itself is enough for a program that has never heard of metaloop."""

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaloop.adapted.description import in_words
from metaloop.learner import Learner
from metaloop.run.config.build import build
from metaloop.run.config.run_config import RunConfig
from tests.conftest import SMALL, composed

PROGRAMS = Path(__file__).parent / "programs"


def consumed(program, *arguments):
    """What a program without metaloop prints."""
    command = [sys.executable, str(PROGRAMS / program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def draw_files(folder, shades, mode="RGBA"):
    for number, shade in enumerate(shades):
        image = Image.new(mode, (20 + number, 31), (shade, 90, 255 - shade, 255))
        image.paste((0, 0, 0, 255), (3, 2 + number, 9, 20))
        image.save(folder / f"{number}.png")


@pytest.fixture
def images(untrained, tmp_path):
    """A learner of Omniglot's inverted images adapted to files of colour, and some more of them."""
    run = untrained("task=omniglot", "model.filters=4", "norm_mode=inductive")
    learner = Learner.load(run.path)
    for name, shades in {"a": (10, 40), "b": (200, 250)}.items():
        (tmp_path / "mine" / name).mkdir(parents=True)
        draw_files(tmp_path / "mine" / name, shades)
    (tmp_path / "new").mkdir()
    draw_files(tmp_path / "new", (20, 120, 240))
    support, new = (
        learner.task.read_examples(tmp_path / name, skip_unusable=False) for name in ("mine", "new")
    )
    return learner.adapt(support.inputs, support.labels), new, run


def test_onnxruntime_and_pillow_predict_what_the_learner_does(images, tmp_path):
    pytest.importorskip("onnxruntime")
    adapted, new, _ = images
    adapted.export(tmp_path / "adapted.onnx")
    files = [new.place / name for name in new.names]
    said = consumed("predict_onnx.py", "--json", tmp_path / "adapted.onnx", *files)
    found = [[row["a"], row["b"]] for row in json.loads(said)]
    np.testing.assert_allclose(found, adapted.predict_proba(new.inputs), atol=1e-5)
    table = consumed("predict_onnx.py", tmp_path / "adapted.onnx", *files)
    answers = zip(files, np.max(found, 1), adapted.predict(new.inputs), strict=True)
    assert table.splitlines() == [f"{file}  {p:6.1%}  {label}" for file, p, label in answers]


@pytest.mark.slow  # torch is imported once more
def test_torch_alone_predicts_the_same_numbers(untrained, tmp_path):
    x = np.linspace(-1, 1, 5)
    adapted = Learner.load(untrained().path).adapt(x, np.sin(x))
    adapted.export(tmp_path / "adapted.pt2")
    said = consumed("predict_pt2.py", tmp_path / "adapted.pt2", "-0.5", "0.25")
    np.testing.assert_allclose(json.loads(said), adapted.predict([-0.5, 0.25]), atol=1e-5)


def test_a_description_says_what_goes_in_what_comes_out_and_by_whom(images):
    adapted, _, run = images
    about = json.loads(json.dumps(adapted.describe()))
    assert about["inputs"]["shape"] == ["rows", 1, 28, 28]
    assert about["inputs"]["colours"] == "grey"
    assert about["inputs"]["is_inverted"]
    assert about["inputs"]["range"] == [0.0, 1.0]
    assert about["outputs"] == {"name": "outputs", "kind": "probabilities", "classes": ["a", "b"]}
    assert (about["run"], about["norm_mode"]) == (run.path.name, "inductive")
    assert about["metaloop"] == version("metaloop")
    words = in_words(about)
    assert "Resize it to 28 x 28 with Pillow's LANCZOS, ignoring its proportions." in words
    assert "Invert it" in words
    assert "a row of probabilities of the classes, in this order:\n- a\n- b\n" in words


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (("task=sinusoid",), "numbers", "unchanged"),
        (("task=clinc150", "task.vocabulary_size=100"), "tokens", "CRC-32 .* modulo 99"),
        (("task=mini_imagenet", "model.filters=2"), "image", "Convert it to RGB"),
    ],
)
def test_every_family_describes_its_inputs(arguments, kind, says):
    about = build(RunConfig.of(composed(*SMALL, *arguments))).task.describe_inputs()
    assert about["kind"] == kind
    assert any(re.search(says, step) for step in about["steps"])
