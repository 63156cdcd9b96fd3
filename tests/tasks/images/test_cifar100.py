"""CIFAR-FS and FC100: the published classes of the official archive."""

import hashlib
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from metaloop.errors import UserError
from metaloop.tasks import FC100, SPLITS, CifarFS, RandomStreams
from metaloop.tasks.sources.class_splits import published_split
from tests.conftest import shared

# made up pictures are of one colour
pytestmark = pytest.mark.filterwarnings("ignore:Nothing can be learned")
NAMES = sorted(name for part in published_split("cifar_fs").values() for name in part)


def make(kind, data_dir, cache_dir, **changes):
    values = {
        "ways": 5,
        "shots": 1,
        "queries": 2,
        "image_size": 32,
        "channels": 3,
        "storage": "auto",
        "skip_unusable": False,
        "data_dir": None if data_dir is None else str(data_dir),
        "cache_dir": str(cache_dir),
        "source_url": "http://127.0.0.1:9",
    }
    return kind(**{**values, **changes})


def made_up(folder: Path, images=4) -> Path:
    """The official layout with few images, whose red says the class and green the number."""
    place = folder / "cifar-100-python"
    place.mkdir(parents=True)
    for part, numbers in (("train", range(images - 1)), ("test", range(images - 1, images))):
        labels = [c for c in range(100) for _ in numbers]
        pixels = np.zeros((len(labels), 3, 1024), dtype=np.uint8)
        pixels[:, 0] = np.array(labels)[:, None]
        pixels[:, 1] = np.array([i for _ in range(100) for i in numbers])[:, None]
        order = np.random.default_rng(0).permutation(len(labels))
        content = {
            "data": pixels.reshape(-1, 3072)[order],
            "fine_labels": [labels[i] for i in order],
        }
        (place / part).write_bytes(pickle.dumps(content))
    (place / "meta").write_bytes(pickle.dumps({"fine_label_names": NAMES}))
    return place


def test_the_class_splits_are_the_published_ones():
    official = json.loads((shared("cifar100") / "splits.json").read_text())
    for name in ("cifar_fs", "fc100"):
        split = published_split(name)
        assert split["train"] == official[name]["train"]
        assert split["validation"] == official[name]["val"]
        assert split["test"] == official[name]["test"]


@pytest.mark.parametrize(("kind", "sizes"), [(CifarFS, [64, 16, 20]), (FC100, [60, 20, 20])])
def test_all_600_images_of_each_class_are_episodes_of_their_split(kind, sizes, cifar100, cache):
    task = make(kind, cifar100, cache)
    task.setup()
    assert task.store.names == NAMES
    assert task.store.counts.tolist() == [600] * 100
    assert task.classes == 100
    assert [len(task.split_classes[split]) for split in SPLITS] == sizes
    drawn = task.draw("test", RandomStreams(0, "test", torch.arange(300)))
    names = {NAMES[c] for c in drawn.classes.flatten().tolist()}
    assert names == set(published_split(kind.split_file)["test"])
    assert task.gather(drawn, torch.float32).support.inputs.shape == (300, 5, 3, 32, 32)


@pytest.mark.parametrize("layout", ["parent", "folder", "archive", "with archive"])
def test_archive_and_unpacked_folder_are_read_alike(layout, tmp_path):
    folder = made_up(tmp_path / "data")
    place = {"parent": folder.parent, "folder": folder}.get(layout)
    if place is None:
        archive = tmp_path / "zipped" / "cifar-100-python.tar.gz"
        archive.parent.mkdir()
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, "cifar-100-python")
        place = archive if layout == "archive" else archive.parent
    task = make(CifarFS, place, tmp_path / "cache")
    task.prepare()
    task.setup()
    drawn = task.draw("train", RandomStreams(0, "train", torch.arange(50)))
    pixels = task.gather_pixels(drawn)[..., 5, 5]
    assert torch.equal(pixels[..., 0].long(), drawn.classes[..., None].expand(50, 5, 3))
    assert pixels[..., 1].unique().tolist() == [0, 1, 2, 3]
    assert pixels[..., 2].unique().tolist() == [0]


def test_the_archive_is_downloaded_checked_and_unpacked_once(tmp_path, capsys):
    archive = tmp_path / "source" / "cifar-100-python.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(made_up(tmp_path / "data"), "cifar-100-python")

    class MadeUp(CifarFS):
        archives = {archive.name: hashlib.md5(archive.read_bytes()).hexdigest()}  # noqa: RUF012

    for _ in range(2):
        task = make(MadeUp, None, tmp_path / "cache", source_url=archive.parent.as_uri())
        task.prepare()
        archive.unlink(missing_ok=True)  # the second start needs it no more
    task.setup()
    assert task.store.counts.tolist() == [4] * 100
    said = capsys.readouterr().out
    assert said.count("Downloading") == said.count("Unpacking") == 1
    archive.write_bytes(b"another file")
    with pytest.raises(UserError, match="MD5 checksum eb9058c3a382ffc7106e4002c42a8d85"):
        make(CifarFS, None, tmp_path, source_url=archive.parent.as_uri()).prepare()


def test_the_same_images_give_another_size_and_grey(tmp_path):
    folder = made_up(tmp_path)
    task = make(CifarFS, folder, tmp_path / "cache", image_size=16, channels=1)
    task.setup()
    assert task.input_shape == task.store.shape == (1, 16, 16)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("no meta", r"is not CIFAR-100: it lacks the file meta\. Put cifar-100-python"),
        ("cut", r"train cannot be read as a pickle .*truncated.*Put cifar-100-python"),
        ("other", r"train is not a part of CIFAR-100.*not pictures\. Put"),
        ("labels", r"train is not a part of CIFAR-100.*n 'fine_labels'"),
        ("names", r"meta does not name all labels"),
        ("classes", r"lacks 1 classes of the train split, the first 'apple'"),
    ],
)
def test_other_folders_are_not_taken_for_cifar100(damage, says, tmp_path):
    folder = made_up(tmp_path / "data")
    train = folder / "train"
    if damage == "no meta":
        (folder / "meta").unlink()
    if damage == "cut":
        train.write_bytes(train.read_bytes()[:-1000])
    if damage == "other":
        train.write_bytes(pickle.dumps({"pictures": []}))
    if damage == "labels":
        content = pickle.loads(train.read_bytes())
        train.write_bytes(pickle.dumps({**content, "fine_labels": content["fine_labels"][:-1]}))
    if damage in ("names", "classes"):
        names = NAMES[:-1] if damage == "names" else ["Apple", *NAMES[1:]]
        (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}))
    with pytest.raises(UserError, match=says):
        make(CifarFS, folder, tmp_path / "cache").prepare()


def test_without_a_network_the_message_says_which_files_to_add(tmp_path):
    with pytest.raises(UserError, match=r"could not be downloaded.*task\.data_dir"):
        make(CifarFS, None, tmp_path).prepare()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ways": 17}, "17-way episode needs 17 classes .* the validation split has 16"),
        ({"queries": 600}, r"shots=1 \+ queries=600.*64 classes with 600 each"),
    ],
)
def test_impossible_episodes_are_refused_before_anything_is_read(change, says, tmp_path):
    with pytest.raises(UserError, match=says):
        make(CifarFS, tmp_path / "nowhere", tmp_path, **change).require_data()
