"""Each image is a task: coordinates and values of its pixels, all or some of them."""

import numpy as np
import pytest
import torch
from PIL import Image

from metaloop.errors import UserError
from metaloop.tasks import ImageClasses, ImageField, LabelledDataset, RandomStreams
from metaloop.tasks.disjoint import DisjointStreams
from metaloop.tasks.fields.pixels import find_pixels, is_image, pixel_grid, to_image
from tests.tasks.fields.fields import IMAGES, SPLIT, Images, episodes, field, numbered


def test_pixels_are_points_at_their_centres_between_the_edges_at_minus_one_and_one():
    assert pixel_grid(2, 2).tolist() == [[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]]
    down, across = pixel_grid(1, 4).T.tolist()
    assert (down, across) == ([0] * 4, [-0.75, -0.25, 0.25, 0.75])


def test_an_episode_is_the_pixels_of_one_image_with_their_values():
    episode = episodes(field(numbered()))
    assert episode.classes.shape == (40, 0)
    assert episode.query.targets.shape == (40, 4, 1)
    for sets in episode[:2]:
        assert torch.equal(sets.inputs, pixel_grid(2, 2).expand(40, 4, 2))
    shown = (episode.query.targets[..., 0] * 255).round().long()
    assert torch.equal(shown - shown[:, :1], torch.arange(4).expand(40, 4))  # row by row
    assert set((shown[:, 0] // 10 % 10).tolist()) == set(SPLIT["train"])
    assert set((shown[:, 0] // 100).tolist()) == set(range(IMAGES))
    assert torch.equal(episode.support.targets, episode.query.targets)


def test_colours_are_the_values_of_one_pixel():
    pixels = np.zeros((8, 2, 3, 2, 2), dtype=np.uint8)
    pixels[..., 1, 0] = [51, 102, 255]  # bottom left
    task = field(pixels)
    episode = episodes(task, count=1)
    place = [[0.5, -0.5]]
    (row,) = find_pixels(torch.tensor(place), 4).tolist()
    assert episode.query.inputs[0, row].tolist() == place[0]
    assert episode.query.targets[0, row].tolist() == pytest.approx([0.2, 0.4, 1.0])
    assert (task.output_size, task.target_names) == (3, ("red", "green", "blue"))
    image = to_image(episode.query.targets[0])
    np.testing.assert_allclose(image * 255, pixels[0, 0], atol=1e-9)


def test_a_labelled_data_set_of_images_is_a_source_too():
    images = [(np.full((2, 3, 3), 5 * i, np.uint8), i % 10) for i in range(30)]
    task = ImageField(of=LabelledDataset(dataset=images, ways=2, shots=1, queries=1))
    task.setup()
    assert episodes(task, count=4).query.targets.shape == (4, 2 * 3, 3)


def test_a_support_set_of_some_pixels_has_each_once_and_queries_stay_all():
    task = field(numbered(side=3), shots=5)
    episode = episodes(task)
    assert episode.support.inputs.shape == (40, 5, 2)
    assert episode.query.targets.shape == (40, 9, 1)
    drawn = set()
    for inputs, targets, all_targets in zip(
        *episode.support.tensors, episode.query.targets, strict=True
    ):
        rows = find_pixels(inputs, 9)
        drawn |= set(rows.tolist())
        assert len(rows.unique()) == 5
        assert torch.equal(targets, all_targets[rows])
    assert drawn == set(range(9))


def test_an_episode_is_the_same_whatever_is_drawn_with_it():
    task = field(numbered(side=3), shots=4)
    together = task.draw("test", RandomStreams(3, "test", torch.arange(20)))
    alone = task.draw("test", RandomStreams(3, "test", torch.tensor([7])))
    assert torch.equal(alone.image.images[0], together.image.images[7])
    assert torch.equal(alone.pixels[0], together.pixels[7])


@pytest.mark.parametrize("split", SPLIT)
def test_images_are_split_as_their_source_splits_them(split):
    task = field(numbered())
    drawn = task.draw(split, RandomStreams(0, split, torch.arange(60)))
    origins = task.origins(drawn)
    assert set(origins["classes"].flatten().tolist()) == set(SPLIT[split])
    rows = {IMAGES * c + m for c in SPLIT[split] for m in range(IMAGES)}
    assert set(origins["image"].flatten().tolist()) == rows


def test_an_open_interval_is_over_images_each_drawn_once():
    task, indices = field(numbered()), torch.arange(50)
    deal = task.deal(0, "test", indices)
    streams = DisjointStreams(0, "test", indices[: len(deal.groups)], deal)
    images = task.origins(task.draw("test", streams))["image"].flatten().tolist()
    assert sorted(images) == list(range(IMAGES * 5, IMAGES * 8))


def test_turned_images_are_further_images_and_the_source_stays_as_it_is():
    source = Images(numbered(), rotations=True)
    episode = episodes(ImageField(of=source))
    turns = {tuple((v * 255).round().long().flatten().tolist()) for v in episode.query.targets}
    assert {tuple((np.rot90([[0, 1], [2, 3]], k)).flatten()) for k in range(4)} == {
        tuple(value - min(turn) for value in turn) for turn in turns
    }
    assert source.describe() == Images(numbered(), rotations=True).describe()


def test_a_protocol_names_images_and_numbers_of_pixels():
    described = field(numbered(), shots=3).describe()
    assert described["images"] == "Images"
    assert (described["shots"], described["queries"]) == (3, 4)
    assert field(numbered()).describe()["shots"] == 4


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: ImageField(of=ImageClasses(ways=3, shots=1, queries=1)),
            "task.of.ways=3, .* would have no effect: each task is one image.* "
            "Leave task.of.ways=2, task.of.shots=1, task.of.queries=1",
        ),
        (lambda: field(numbered(), shots=5), "task.shots=5 .* 2 x 2 has 4 pixels. Lower it"),
        (
            lambda: ImageField(of=ImageClasses(ways=2, shots=1, queries=1)),
            "ImageClasses .* no images .* Set task.of to a task of images",
        ),
    ],
)
def test_what_would_have_no_effect_or_does_not_fit_is_refused(make, says):
    with pytest.raises(UserError, match=says):
        make()


@pytest.mark.parametrize(
    ("is_inverted", "values"), [(False, [1, 0.8, 0.6, 0]), (True, [0, 0.2, 0.4, 1])]
)
def test_a_users_image_is_read_as_the_sources_are_and_its_pixels_are_the_examples(
    is_inverted, values, tmp_path
):
    source = Images(numbered())
    source.is_inverted = is_inverted
    task, place = ImageField(of=source), tmp_path / "photo.png"
    Image.fromarray(np.array([[255, 204], [153, 0]], dtype=np.uint8)).save(place)
    given = task.read_examples(place, skip_unusable=False)
    assert given.inputs.tolist() == pixel_grid(2, 2).tolist()
    assert given.labels[:, 0].tolist() == pytest.approx(values)
    assert given.columns == {"row": [0, 0, 1, 1], "column": [0, 1, 0, 1]}
    task.require_examples(place, "support")
    with pytest.raises(UserError, match=r"support=.* is no file.* Name an image file"):
        task.require_examples(tmp_path, "support")


def test_only_all_pixels_of_a_square_are_an_image():
    grid = pixel_grid(3, 3)
    assert is_image(grid)
    assert is_image(grid.float())
    assert not is_image(grid.flip(0))
    assert not is_image(grid[:8])
    assert not is_image(pixel_grid(9, 1))
