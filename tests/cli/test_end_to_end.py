"""Real data from end to end, as a user types it: train, evaluate, adapt to files, export.

The files are those of the first test episode, so that the evaluation says what adapting to them
has to give, and the adaptation what the exported networks have to say.
"""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from metaloop.folders.run_folder import RunFolder
from metaloop.learner import Learner
from metaloop.tasks import SentenceClasses
from metaloop.training.datamodule import draw
from tests.adapted.test_export import answers
from tests.conftest import run_command, shared

pytestmark = pytest.mark.slow

SENTENCES = ("train.jsonl", "valid.jsonl", "test.jsonl")
ADAPTS = ("algorithm.inner_lr=0.2", "algorithm.eval_inner_steps=3")
IMAGES = ("model.filters=8", "data.meta_batch_size=2")
LEARNERS = {
    "omniglot": IMAGES,
    "cifar_fs": IMAGES,
    "fc100": IMAGES,
    "clinc150": (),
    "banking77": (),
}


@pytest.fixture
def data_dir(request):
    """Where a task's real files are."""

    def find(task):
        if task in ("clinc150", "banking77"):
            return shared("text_intents") / task
        return request.getfixturevalue("omniglot" if task == "omniglot" else "cifar100")

    return find


def ran(command, *arguments):
    done = run_command(f"metaloop-{command}", *arguments, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_episode(task, place):
    """Write the first test episode's examples: class folders of images, or CSV files.

    Its labels are in the order of their names, as adapting sorts them.
    """
    task.prepare()
    task.setup()
    drawn = draw(task, 0, "test", torch.tensor([0])).episodes
    names = [f"{i} {task.class_name(int(c))}" for i, c in enumerate(drawn.classes[0])]
    parts = {"support": slice(None, task.shots), "query": slice(task.shots, None)}
    if isinstance(task, SentenceClasses):
        lines = "".join((task.data_dir / name).read_text("utf-8") for name in SENTENCES)
        read = [json.loads(line)["sentence"] for line in lines.splitlines() if line]
        for part, of_class in parts.items():
            rows = zip(names, drawn.rows[0, :, of_class].tolist(), strict=True)
            with (place / f"{part}.csv").open("w", newline="") as file:
                table = [(read[row], name) for name, mine in rows for row in mine]
                csv.writer(file).writerows([("sentence", "label"), *table])
        return place / "support.csv", place / "query.csv", names
    pixels = task.gather_pixels(drawn)[0].numpy()
    for part, of_class in parts.items():
        for name, images in zip(names, pixels[:, of_class], strict=True):
            folder = place / part / name.replace("/", " ")
            folder.mkdir(parents=True)
            for number, image in enumerate(255 - images if task.is_inverted else images):
                picture = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
                Image.fromarray(picture).save(folder / f"{number:02}.png")
    return place / "support", place / "query", [name.replace("/", " ") for name in names]


@pytest.mark.parametrize("task", LEARNERS)
def test_a_data_set_trains_evaluates_adapts_and_exports(task, data_dir, cache, tmp_path):
    pytest.importorskip("onnxruntime")
    ran(
        "train",
        f"task={task}",
        f"task.data_dir={data_dir(task)}",
        f"task.cache_dir={cache}",
        *LEARNERS[task],
        *ADAPTS,
        "experiment=smoke",
        "logger=csv",
        "device=cpu",
        f"output_dir={tmp_path / 'outputs'}",
    )
    (folder,) = (tmp_path / "outputs").iterdir()
    run = RunFolder(folder)
    ran("evaluate", f"run={folder}", "name=inductive", "norm_mode=inductive")
    with (run.evaluations / "inductive" / "episodes.csv").open() as file:
        evaluated = next(csv.DictReader(file))

    support, query, names = write_episode(Learner.load(folder).task, tmp_path)
    ran(
        "adapt",
        f"run={folder}",
        f"support={support}",
        f"query={query}",
        "name=first",
        "norm_mode=inductive",
        "export=[pt2,onnx]",
    )
    adaptation = run.adaptations / "first"
    curves = json.loads((adaptation / "results.json").read_text())["metrics"]
    for metric, digits in (("query_loss", 1e-4), ("accuracy", 1e-6)):
        expected = [float(evaluated[f"{metric}_step_{k}"]) for k in range(4)]
        assert curves[metric]["mean"] == pytest.approx(expected, rel=digits)

    with (adaptation / "predictions.csv").open() as file:
        predicted = list(csv.DictReader(file))
    said = np.array([[float(row[f"p({name})"]) for name in names] for row in predicted])
    adapted = Learner.load(folder, norm_mode="inductive").task
    if isinstance(adapted, SentenceClasses):
        x = adapted.encode([row["sentence"] for row in predicted]).numpy()
    else:
        files = [query / row["file"] for row in predicted]
        pixels = np.stack([np.atleast_3d(np.array(Image.open(f))) for f in files])
        x = (pixels.transpose(0, 3, 1, 2) / np.float32(255)).astype(np.float32)
        x = 1 - x if adapted.is_inverted else x
    for file in ("adapted.pt2", "adapted.onnx"):
        found, classes = answers(adaptation / file, x)
        assert classes == names
        np.testing.assert_allclose(found, said, atol=1e-5)
