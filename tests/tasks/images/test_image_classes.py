"""N-way K-shot episodes over made-up images whose pixels name class, member and turn."""

import numpy as np
import pytest
import torch

from metaloop.errors import UserError
from metaloop.tasks import SPLITS, ImageClasses, RandomStreams, store_arrays

CLASSES, MEMBERS = 30, 6
SPLIT = {
    "train": range(15),
    "validation": range(15, 20),
    "test": range(20, 30),
}


def make(ways=5, shots=1, queries=2, rotations=True) -> ImageClasses:
    task = ImageClasses(ways=ways, shots=shots, queries=queries, rotations=rotations)
    images = np.zeros((CLASSES, MEMBERS, 1, 2, 2), dtype=np.uint8)
    # corner, clockwise from top left: class, member, 200, 0: every turn looks different
    images[..., 0, 0] = np.arange(CLASSES)[:, None, None]
    images[..., 0, 1] = 40 + np.arange(MEMBERS)[None, :, None]
    images[..., 1, 1] = 200
    task.open_images(store_arrays(list(images)), SPLIT)
    return task


def episodes(task, split="train", count=200, seed=0):
    drawn = task.draw(split, RandomStreams(seed, split, torch.arange(count)))
    return drawn, task.gather(drawn, torch.float64)


def unturned(images, turns):
    """Undo k counter-clockwise quarter turns of [n, 1, 2, 2] images, by hand."""
    corners = images.flatten(1)[:, [0, 1, 3, 2]]  # clockwise from top left
    return torch.stack([c.roll(int(k)) for c, k in zip(corners, turns, strict=True)])


@pytest.mark.parametrize("split", SPLITS)
def test_episodes_hold_the_drawn_classes_images_each_once_turned_as_drawn(split):
    task = make()
    drawn, episode = episodes(task, split)
    for t in range(20):
        both = torch.cat([episode.support.inputs[t], episode.query.inputs[t]]) * 255
        labels = torch.cat([episode.support.targets[t], episode.query.targets[t]])
        classes = episode.classes[t]
        pixels = unturned(both, drawn.rotations[t][labels]).round().long()
        assert torch.equal(pixels[:, 0], classes[labels] // 4)  # the class of its label
        assert set(pixels[:, 2].tolist()) == {200}
        members = {(int(p[0]), int(p[1])) for p in pixels}
        assert len(members) == len(pixels)  # no image twice, so support and query are disjoint
        assert torch.equal(classes % 4, drawn.rotations[t])
        assert set((classes // 4).tolist()) <= set(SPLIT[split])
        assert len((classes // 4).unique()) == 5  # turns of different originals


def test_labels_are_in_random_order():
    _, episode = episodes(make(rotations=False))
    assert not (episode.classes.sort(-1).values == episode.classes).all(-1).any(0).all()
    assert 0.4 < (episode.classes[:, 0] < episode.classes[:, 1]).double().mean() < 0.6


def test_all_rotations_appear_only_if_rotations_are_on():
    turned, _ = episodes(make())
    assert turned.rotations.unique().tolist() == [0, 1, 2, 3]
    upright, _ = episodes(make(rotations=False))
    assert upright.rotations.unique().tolist() == [0]
    assert upright.classes.max() < 15


def test_shapes_and_scale_follow_the_legend():
    _, episode = episodes(make(ways=3, shots=2, queries=4), count=7)
    assert episode.support.inputs.shape == (7, 6, 1, 2, 2)
    assert episode.query.inputs.shape == (7, 12, 1, 2, 2)
    assert torch.equal(episode.support.targets[0], torch.tensor([0, 0, 1, 1, 2, 2]))
    assert episode.support.inputs.dtype == torch.float64
    assert episode.support.inputs.max() == 200 / 255


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ways": 6}, "6 classes with 3 images each .* the validation split has 5"),
        ({"shots": 5}, r"shots=5 \+ queries=2.*has 15 classes with 6 each.*Lower"),
    ],
)
def test_impossible_episodes_are_refused_with_the_remedy(change, says):
    with pytest.raises(UserError, match=says):
        make(**change)
