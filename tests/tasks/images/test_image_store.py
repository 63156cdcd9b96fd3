"""Where images lie, and how many each class has, changes no episode."""

import pickle
from itertools import islice

import numpy as np
import pytest
import torch

from metaloop.errors import UserError
from metaloop.tasks import ImageClasses, RandomStreams, store_arrays
from metaloop.tasks.images.image_cache import ImageSource, load_or_build
from metaloop.training.datamodule import EpisodicDataModule

COUNTS = [3, 9, 4, 30, 3, 5, 7, 3, 12]  # uneven classes
SPLIT = {"train": range(5), "validation": range(5, 7), "test": range(7, 9)}


def pixels(item: tuple[int, int]) -> np.ndarray:
    """A colour image of 2 x 3 that names its class and number."""
    image = np.zeros((3, 2, 3), dtype=np.uint8)
    image[0], image[1] = item
    return image


def source() -> ImageSource:
    classes = {f"class {c}": [(c, i) for i in range(n)] for c, n in enumerate(COUNTS)}
    return ImageSource(classes, pixels, (3, 2, 3))


def make(store, **changes) -> ImageClasses:
    task = ImageClasses(**{"ways": 2, "shots": 1, "queries": 2, **changes})
    task.open_images(store, SPLIT)
    return task


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("storage", ["auto", "memory", "mapped", "device"])
def test_storage_and_workers_change_no_episode(storage, workers, tmp_path):
    arrays = [np.stack([pixels((c, i)) for i in range(n)]) for c, n in enumerate(COUNTS)]
    expected, task = (
        make(store)
        for store in (
            store_arrays(arrays),
            load_or_build(tmp_path / "x", source, storage=storage),
        )
    )
    for loader in ("train_dataloader", "val_dataloader"):
        streams = [
            getattr(EpisodicDataModule(t, seed=4, meta_batch_size=3, workers=w), loader)()
            for t, w in ((expected, 0), (task, workers))
        ]
        for one, other in islice(zip(*streams, strict=True), 3):
            a, b = (
                expected.gather(one.episodes, torch.float32),
                task.gather(other.episodes, torch.float32),
            )
            assert torch.equal(a.support.inputs, b.support.inputs)
            assert torch.equal(a.query.inputs, b.query.inputs)
            assert torch.equal(a.classes, b.classes)


@pytest.mark.parametrize("storage", ["memory", "mapped"])
def test_rotated_images_are_the_same_stored_or_rotated_when_gathered(storage, tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12, 3, 4, 4), dtype=np.uint8)
    source = ImageSource({"a": range(12)}, lambda row: images[row], (3, 4, 4))
    store = load_or_build(tmp_path / "x", lambda: source, storage=storage)
    rows = torch.from_numpy(random.integers(0, 12, (5, 6)))
    turns = torch.from_numpy(random.integers(0, 4, (5, 6)))
    expected = np.stack(
        [
            np.stack([np.rot90(images[r], k, (-2, -1)) for r, k in zip(row, turn, strict=True)])
            for row, turn in zip(rows.tolist(), turns.tolist(), strict=True)
        ]
    )
    assert torch.equal(store.gather(rows), torch.from_numpy(images[rows]))
    assert torch.equal(store.gather(rows, turns), torch.from_numpy(expected))
    assert torch.equal(store.gather(rows), torch.from_numpy(images[rows]))


def test_every_image_of_an_uneven_class_is_drawn_and_none_of_another():
    arrays = [np.stack([pixels((c, i)) for i in range(n)]) for c, n in enumerate(COUNTS)]
    task = make(store_arrays(arrays))
    drawn = task.draw("train", RandomStreams(0, "train", torch.arange(600)))
    seen = task.gather_pixels(drawn)[:, :, :, :2, 0, 0]
    assert torch.equal(seen[..., 0], drawn.classes[..., None].expand(seen.shape[:3]).byte())
    for c in SPLIT["train"]:
        members = seen[..., 1][seen[..., 0] == c]
        assert sorted(members.unique().tolist()) == list(range(COUNTS[c]))
    # support and query of a class are different images
    assert all(len(set(row)) == 3 for row in seen[..., 1].flatten(0, 1).tolist())


def test_equal_sizes_draw_what_one_size_draws():
    one, each = (
        RandomStreams(1, "test", torch.arange(50)),
        RandomStreams(1, "test", torch.arange(50)),
    )
    sizes = torch.full((50, 4), 20)
    assert torch.equal(
        one.choose(4, count=6, population=20), each.choose(4, count=6, population=sizes)
    )


@pytest.mark.parametrize(
    ("counts", "change", "says"),
    [
        ([9] * 9, {"ways": 3}, "3 classes with 3 images each.*the validation split has 2"),
        (
            [9, 9, 9, 3, 2, 9, 9, 9, 9],
            {"queries": 3},
            r"An episode needs 4 images .*2 of the train split's 5 classes have fewer: "
            r"'c4' has only 2.*task\.skip_unusable=true",
        ),
        (
            [10, 9, 4, 4, 3, 9, 9, 9, 9],
            {"ways": 3, "shots": 3, "queries": 6},
            r"A 3-way episode needs 3 classes with 9 images each \(shots=3 \+ queries=6\), but the "
            r"train split has 2: 'c4' has only 3\. Lower .* or add images",
        ),
    ],
)
def test_classes_too_few_or_too_small_are_refused_by_name(counts, change, says):
    arrays = [np.zeros((n, 1, 2, 2), dtype=np.uint8) for n in counts]
    with pytest.raises(UserError, match=says):
        make(store_arrays(arrays, [f"c{i}" for i in range(9)]), **change)


def test_classes_too_small_are_left_out_on_request():
    arrays = [np.zeros((n, 1, 2, 2), dtype=np.uint8) for n in (9, 2, 9, 9, 9, 9, 9, 9, 9)]
    task = ImageClasses(ways=2, shots=1, queries=2)
    task.open_images(store_arrays(arrays, [f"c{i}" for i in range(9)]), SPLIT, skip_small=True)
    drawn = task.draw("train", RandomStreams(0, "train", torch.arange(200)))
    assert drawn.classes.unique().tolist() == [0, 2, 3, 4]


def test_a_store_travels_to_a_loaders_worker_without_its_images():
    store = store_arrays([np.zeros((1000, 1, 9, 9), dtype=np.uint8)])
    travelled = pickle.dumps(store)
    assert len(travelled) < 3000
    rows = pickle.loads(travelled).find(torch.tensor(0), torch.tensor([999]))
    assert rows.tolist() == [999]
