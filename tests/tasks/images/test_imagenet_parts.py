"""miniImageNet, tieredImageNet and CUB: the layouts that circulate, made up in small."""

import io
import os
import pickle
import tarfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metaloop.errors import UserError
from metaloop.tasks import CUB, SPLITS, MiniImageNet, RandomStreams, TieredImageNet
from tests.tasks.sources.test_safe_pickle import Executes

FOLDERS = {"train": "train", "validation": "val", "test": "test"}
SIZES = {
    MiniImageNet: {"train": 64, "validation": 16, "test": 20},
    TieredImageNet: {"train": 351, "validation": 97, "test": 160},
}
IMAGES = 3


def make(kind, data_dir, cache_dir, **changes):
    values = {
        "ways": 5,
        "shots": 1,
        "queries": 2,
        "image_size": 8,
        "channels": 3,
        "storage": "auto",
        "skip_unusable": False,
        "data_dir": None if data_dir is None else str(data_dir),
        "cache_dir": str(cache_dir),
        **({"source_url": "http://127.0.0.1:9"} if kind is CUB else {}),
    }
    return kind(**{**values, **changes})


def colour(split: str, number: int, image: int) -> tuple[int, int, int]:
    """Red says the split, green the class within it (in steps), blue the image."""
    return 50 + 50 * SPLITS.index(split), number % 200, 10 * image


def square(*pixel: int) -> np.ndarray:
    return np.full((8, 8, 3), pixel, dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def class_folders(kind, folder: Path) -> Path:
    for split, size in SIZES[kind].items():
        for c in range(size):
            place = folder / FOLDERS[split] / f"n{c:04d}"
            place.mkdir(parents=True)
            if split != "train":
                place = place.rename(place.with_name(f"n{c + 500 * SPLITS.index(split):04d}"))
            for i in range(IMAGES):
                (place / f"{i}.png").write_bytes(png(square(*colour(split, c, i))))
    return folder


def images_and_lists(folder: Path) -> Path:
    (folder / "images").mkdir(parents=True)
    for split, size in SIZES[MiniImageNet].items():
        lines = ["filename,label"]
        for c in range(size):
            for i in range(IMAGES):
                name = f"{split}{c:04d}{i}.png"
                lines.append(f"{name},{split}-{c:03d}")
                (folder / "images" / name).write_bytes(png(square(*colour(split, c, i))))
        (folder / f"{FOLDERS[split]}.csv").write_text("\n".join(lines))
    return folder


def mini_pickles(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for split, size in SIZES[MiniImageNet].items():
        data = np.stack([square(*colour(split, c, i)) for c in range(size) for i in range(IMAGES)])
        rows = {f"{split}-{c:03d}": list(range(c * IMAGES, (c + 1) * IMAGES)) for c in range(size)}
        content = {"image_data": data, "class_dict": rows}
        path = folder / f"mini-imagenet-cache-{FOLDERS[split]}.pkl"
        path.write_bytes(pickle.dumps(content, protocol=2))
    return folder


def tiered_pickles(folder: Path, packed: bool) -> Path:
    folder.mkdir(parents=True)
    for split, size in SIZES[TieredImageNet].items():
        images = [square(*colour(split, c, i)) for c in range(size) for i in range(IMAGES)]
        labels = {
            "label_specific": np.repeat(np.arange(size), IMAGES),
            "label_specific_str": [f"thing, {c % 7} kinds" for c in range(size)],
        }
        (folder / f"{FOLDERS[split]}_labels.pkl").write_bytes(pickle.dumps(labels))
        if packed:
            bytes_of = [np.frombuffer(png(image), dtype=np.uint8) for image in images]
            path = folder / f"{FOLDERS[split]}_images_png.pkl"
            path.write_bytes(pickle.dumps(bytes_of))
        else:  # as OpenCV reads: blue first
            np.savez(folder / f"{FOLDERS[split]}_images.npz", images=np.stack(images)[..., ::-1])
    return folder


LAYOUTS = {
    "mini folders": (MiniImageNet, lambda folder: class_folders(MiniImageNet, folder)),
    "mini lists": (MiniImageNet, images_and_lists),
    "mini pickles": (MiniImageNet, mini_pickles),
    "tiered folders": (TieredImageNet, lambda folder: class_folders(TieredImageNet, folder)),
    "tiered png": (TieredImageNet, lambda folder: tiered_pickles(folder, packed=True)),
    "tiered npz": (TieredImageNet, lambda folder: tiered_pickles(folder, packed=False)),
}


@pytest.mark.filterwarnings("ignore:Nothing can be learned")  # each class is one colour
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_its_images_to_the_split_it_names(layout, tmp_path):
    kind, build = LAYOUTS[layout]
    task = make(kind, build(tmp_path / "data"), tmp_path / "cache")
    task.prepare()
    task.setup()
    assert {split: len(task.split_classes[split]) for split in SPLITS} == SIZES[kind]
    assert task.store.counts.unique().tolist() == [IMAGES]
    for split in SPLITS:
        drawn = task.draw(split, RandomStreams(0, split, torch.arange(60)))
        pixels = task.gather_pixels(drawn)[..., 2, 5].int()
        assert pixels[..., 0].unique().tolist() == [50 + 50 * SPLITS.index(split)]
        # the classes of an episode have colours of their own, the images of a class its one
        assert (pixels[..., 1] == pixels[..., :1, 1]).all()
        assert pixels[..., 2].unique().tolist() == [0, 10, 20]
        if kind is MiniImageNet:
            assert all(len(set(row)) == 5 for row in pixels[:, :, 0, 1].tolist())


@pytest.mark.parametrize("kind", [MiniImageNet, TieredImageNet])
def test_without_the_users_copy_the_message_says_which_files_to_add(kind, tmp_path):
    with pytest.raises(
        UserError, match=r"task\.data_dir is not set\. .*must not be redistributed\. Put"
    ):
        make(kind, None, tmp_path).require_data()
    with pytest.raises(UserError, match=r"is not .*ImageNet\. .*must not be redistributed\. Put"):
        make(kind, tmp_path, tmp_path / "cache").prepare()


@pytest.mark.parametrize(
    ("layout", "damage", "says"),
    [
        ("mini pickles", "evil", r"cache-val\.pkl wants to execute posix\.system.*not read"),
        ("mini pickles", "absent", r"cache-val\.pkl is missing\. miniImageNet consists of"),
        ("mini pickles", "other", r"cache-val\.pkl should contain image_data .* not a\."),
        ("mini pickles", "rows", r"cache-val\.pkl: class_dict lists image 9 for 'x'.* has 2"),
        ("mini pickles", "classes", "split has 64/16/20 classes .* and .* has 64/1/20"),
        ("tiered png", "evil", r"val_labels\.pkl wants to execute posix\.system.*not read"),
        ("tiered png", "evil images", r"val_images_png\.pkl wants to execute posix\.system"),
        ("tiered png", "other", r"val_labels\.pkl should contain label_specific.* not a\."),
        (
            "tiered png",
            "broken",
            r"val_images_png\.pkl: image \d+ is not a readable PNG",
        ),
        ("tiered npz", "broken npz", r"val_images\.npz cannot be read"),
    ],
)
def test_pickles_that_are_malicious_or_wrong_are_refused_by_name(
    layout, damage, says, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    kind, build = LAYOUTS[layout]
    folder = build(tmp_path / "data")
    path = folder / ("mini-imagenet-cache-val.pkl" if kind is MiniImageNet else "val_labels.pkl")
    images = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    evil = {"image_data": images, "class_dict": Executes(os.system, "touch was_here")}
    content = {
        "evil": evil,
        "other": {"a": 1},
        "rows": {"image_data": images, "class_dict": {"x": [0, 9]}},
        "classes": {"image_data": images, "class_dict": {"x": [0, 1, 1]}},
    }
    if damage == "absent":
        path.unlink()
    elif damage == "broken npz":
        (folder / "val_images.npz").write_bytes(b"PK no archive")
    elif damage in ("evil images", "broken"):
        bad = [np.zeros(9, dtype=np.uint8)] * (97 * IMAGES) if damage == "broken" else [evil]
        (folder / "val_images_png.pkl").write_bytes(pickle.dumps(bad))
    else:
        path.write_bytes(pickle.dumps(content[damage]))
    with pytest.raises(UserError, match=says):
        make(kind, folder, tmp_path / "cache").prepare()
    assert not (tmp_path / "was_here").exists()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("unknown file", r"val\.csv, row 1 lists the file 'validation00000\.png', but there is"),
        ("columns", r"val\.csv lacks the columns filename,label"),
        ("absent", r"val\.csv is missing"),
        ("twice", r"The class 'train-000' is in .* Every|one split"),
    ],
)
def test_lists_that_are_wrong_are_refused_by_line(damage, says, tmp_path):
    folder = images_and_lists(tmp_path / "data")
    table = folder / "val.csv"
    if damage == "unknown file":
        (folder / "images" / "validation00000.png").unlink()
    elif damage == "columns":
        table.write_text("a,b\n1,2\n")
    elif damage == "absent":
        table.unlink()
    else:
        table.write_text(table.read_text().replace("validation-000", "train-000"))
    with pytest.raises(UserError, match=says):
        make(MiniImageNet, folder, tmp_path / "cache").prepare()


def birds(folder: Path, classes=200) -> Path:
    for c in range(classes):
        place = folder / "CUB_200_2011" / "images" / f"{c + 1:03d}.Bird"
        place.mkdir(parents=True)
        for i in range(IMAGES):
            (place / f"{i}.png").write_bytes(png(square(c, i, 0)))
    return folder


@pytest.mark.parametrize("layout", ["parent", "folder", "archive"])
def test_cub_trains_on_every_second_bird_in_each_layout(layout, tmp_path):
    folder = birds(tmp_path / "data")
    place = {"parent": folder, "folder": folder / "CUB_200_2011"}.get(layout)
    if place is None:
        place = tmp_path / "CUB_200_2011.tgz"
        with tarfile.open(place, "w:gz") as tar:
            tar.add(folder / "CUB_200_2011", "CUB_200_2011")
    task = make(CUB, place, tmp_path / "cache")
    task.setup()
    split = {part: sorted(task.split_classes[part].tolist()) for part in SPLITS}
    # numbers from 0 in alphabetical order, as in the published rule
    assert [len(split[part]) for part in SPLITS] == [100, 50, 50]
    assert all(c % 2 == 0 for c in split["train"])
    assert all(c % 4 == 1 for c in split["validation"])
    assert all(b - a == 4 for a, b in pairwise(split["test"]))
    drawn = task.draw("test", RandomStreams(0, "test", torch.arange(20)))
    red = task.gather_pixels(drawn)[..., 0, 3, 3]
    assert torch.equal(red.long(), drawn.classes[..., None].expand(red.shape))


def test_an_incomplete_cub_and_one_that_cannot_be_downloaded_say_what_to_put(tmp_path):
    with pytest.raises(UserError, match=r"has 3 class folders, but CUB has 200\. Put CUB_200"):
        make(CUB, birds(tmp_path / "data", classes=3), tmp_path / "cache").prepare()
    with pytest.raises(UserError, match=r"could not be downloaded.*Put CUB_200_2011\.tgz"):
        make(CUB, None, tmp_path / "cache").prepare()
