"""Adapting a field to a user's image file: its pixels are examples, its picture the answer."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from metaloop.learner import Learner
from metaloop.run.adaptation.adapt import adapt
from metaloop.run.config.build import build
from metaloop.run.config.run_config import RunConfig
from metaloop.tasks.fields.pixels import pixel_grid

WANTED = {"steps": 3, "head": None, "checkpoint": "best", "skip_unusable": False, "export": []}
SIDE = 6


@pytest.fixture
def run(untrained):
    return untrained("task=image_field", f"task.of.image_size={SIDE}", "model.hidden=[8]")


@pytest.fixture
def photo(tmp_path):
    """Dark on white, as Omniglot's files are, of another size and in colour."""
    shades = np.linspace(0, 255, (2 * SIDE) ** 2).astype(np.uint8).reshape(2 * SIDE, 2 * SIDE)
    Image.fromarray(shades).convert("RGB").save(tmp_path / "photo.jpg", quality=95)
    return tmp_path / "photo.jpg"


def test_a_field_adapts_to_an_image_file_and_answers_with_every_pixel(run, photo, tmp_path):
    folder = tmp_path / "adaptation"
    folder.mkdir()
    section = {**WANTED, "support": str(photo), "query": str(photo)}
    pieces = build(RunConfig.read(run).changed(command="adapt", adapt=section))
    adapt(pieces, run, folder, [])

    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["row", "column", "predicted", "grey"]
    assert [(r["row"], r["column"]) for r in rows[:: SIDE + 1]] == [(str(i),) * 2 for i in range(6)]
    pixels = 255 - pieces.task.of.image_files().fit(Image.open(photo), "it")
    values = (255 - pixels[0]).ravel() / 255  # white on black, as in training
    assert [float(row["grey"]) for row in rows] == pytest.approx(values, abs=1e-6)
    mine = Learner.load(run.path).adapt(pixel_grid(SIDE, SIDE), values, steps=3)
    found = [float(row["predicted"]) for row in rows]
    np.testing.assert_allclose(found, mine.predict(pixel_grid(SIDE, SIDE)), atol=1e-5)

    metrics = json.loads((folder / "results.json").read_text())["metrics"]
    # PSNR is of a whole image: the mean over single pixels would be another number
    assert set(metrics) == {"support_loss", "query_loss"}
    assert metrics["query_loss"]["mean"][-1] == pytest.approx(np.mean((values - found) ** 2))
    assert (folder / "fit.png").stat().st_size > 2000


def test_a_field_is_drawn_at_any_resolution_by_a_learner(run):
    values = torch.rand(SIDE * SIDE, 1, generator=torch.Generator().manual_seed(0))
    adapted = Learner.load(run.path).adapt(pixel_grid(SIDE, SIDE), values, steps=1)
    assert adapted.predict(pixel_grid(20, 20)).shape == (400, 1)


def test_a_folder_is_refused_before_anything_is_written(run, tmp_path, said):
    place = tmp_path / "photos"
    place.mkdir()
    told = said("adapt", str(run.path), f"support={place}", status=1)
    assert "is no file, but the run was trained on fields" in " ".join(told.err.split())
    assert not (run.path / "adaptations").exists()
