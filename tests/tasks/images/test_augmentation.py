"""Augmentation is part of an episode, of training alone, and does what its numbers say."""

import numpy as np
import pytest
import torch

from metaloop.tasks import Augmentation, ImageClasses, RandomStreams, store_arrays

OFF = {"crop": 0, "flip": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
SPLIT = {"train": range(4), "validation": range(4, 6), "test": range(6, 8)}
NEUTRAL = torch.tensor([[0.5, 0.5, 0.99, 0.5, 0.5, 0.5]])  # no shift, no flip, factors of 1


def augmentation(**changes) -> Augmentation:
    return Augmentation(**{**OFF, **changes})


def numbers(**changes) -> torch.Tensor:
    names = ["down", "right", "flip", "brightness", "contrast", "saturation"]
    row = NEUTRAL.clone()
    for name, value in changes.items():
        row[0, names.index(name)] = value
    return row


def make(augment) -> ImageClasses:
    task = ImageClasses(ways=2, shots=1, queries=2, augmentation=augment)
    images = np.random.default_rng(0).integers(0, 256, (8, 5, 3, 6, 6), dtype=np.uint8)
    task.open_images(store_arrays(list(images)), SPLIT)
    return task


def inputs(task, split, *indices, seed=0):
    episode = task.gather(
        task.draw(split, RandomStreams(seed, split, torch.tensor(indices))), torch.float64
    )
    return torch.cat([episode.support.inputs, episode.query.inputs], 1)


ALL = {"crop": 2, "flip": 0.5, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4}


def test_augmentation_does_not_depend_on_the_rest_of_the_batch():
    task = make(augmentation(**ALL))
    alone, together = inputs(task, "train", 7), inputs(task, "train", 3, 7, 900)
    assert torch.equal(alone[0], together[1])
    assert not torch.equal(alone, inputs(task, "train", 8))
    assert not torch.equal(alone, inputs(task, "train", 7, seed=1))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_only_training_images_are_changed(split):
    changed, plain = make(augmentation(**ALL)), make(None)
    assert torch.equal(inputs(changed, split, 0, 1), inputs(plain, split, 0, 1))
    assert not torch.equal(inputs(changed, "train", 0, 1), inputs(plain, "train", 0, 1))


def test_augmentation_changes_no_choice_of_classes_and_images():
    streams = [RandomStreams(0, "train", torch.arange(9)) for _ in range(2)]
    one, other = (
        make(augmentation(**ALL)).draw("train", streams[0]),
        make(None).draw("train", streams[1]),
    )
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.classes, other.classes)


def test_without_augmentation_images_are_unchanged():
    assert not augmentation().is_on
    assert make(augmentation()).augmentation is None
    assert "augmentation" not in make(augmentation()).describe()
    assert "crop 2" in str(make(augmentation(**ALL)).describe()["augmentation"])


IMAGE = torch.arange(12, dtype=torch.float64).reshape(1, 1, 3, 4) / 12
ROWS = IMAGE[0, 0]


@pytest.mark.parametrize(
    ("what", "how", "expected"),
    [
        # the shift is -crop .. crop in equal parts of (0, 1); the border repeats
        ({"crop": 1}, {"down": 0.9}, torch.stack([ROWS[1], ROWS[2], ROWS[2]])),
        ({"crop": 1}, {"down": 0.1}, torch.stack([ROWS[0], ROWS[0], ROWS[1]])),
        ({"crop": 1}, {"right": 0.9}, torch.cat([ROWS[:, 1:], ROWS[:, 3:]], 1)),
        ({"flip": 0.5}, {"flip": 0.4}, ROWS.flip(1)),
        ({"flip": 0.5}, {"flip": 0.6}, ROWS),
        # factor 1 + 0.5 * (2 * 0.75 - 1) = 1.25, white stays white
        ({"brightness": 0.5}, {"brightness": 0.75}, (ROWS * 1.25).clamp(max=1)),
        ({"contrast": 0.5}, {"contrast": 0.25}, ROWS.mean() + 0.75 * (ROWS - ROWS.mean())),
        ({"saturation": 1.0}, {"saturation": 0.1}, ROWS),  # grey has no saturation
    ],
)
def test_each_augmentation_changes_pixels_as_expected(what, how, expected):
    changed = augmentation(**what)(IMAGE, numbers(**how))
    torch.testing.assert_close(changed[0, 0], expected)


def test_no_saturation_leaves_the_luma_in_every_channel():
    colour = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64).reshape(1, 3, 1, 1)
    grey = augmentation(saturation=1.0)(colour, numbers(saturation=0.0))
    # 0.299 * 1 + 0.587 * 0.5
    torch.testing.assert_close(grey.flatten(), torch.full((3,), 0.5925, dtype=torch.float64))


def test_every_shift_and_both_sides_are_about_equally_likely():
    torch.manual_seed(0)
    images = torch.arange(25.0).reshape(1, 1, 5, 5).expand(6000, 1, 5, 5)
    centre = augmentation(crop=1, flip=0.5)(images, torch.rand(6000, 6))[:, 0, 2, 2]
    seen = centre.long().bincount(minlength=25).reshape(5, 5)
    assert seen[1:4, 1:4].sum() == 6000
    # 9 cells of 6000/9, deviation sqrt(6000 * 1/9 * 8/9) = 24.3
    assert (seen[1:4, 1:4] - 6000 / 9).abs().max() < 5 * 24.3
