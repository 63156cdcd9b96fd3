"""A user's own images in class folders: what is read, how it is split, what is refused."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metaloop.errors import UserError
from metaloop.tasks import SPLITS, ImageField, ImageFolder, RandomStreams
from metaloop.tasks.sources.class_splits import seeded_split

# most pictures here are of one colour
pytestmark = pytest.mark.filterwarnings("ignore:Nothing can be learned")
SUFFIXES = ("png", "jpg", "bmp", "webp", "PNG")
CLASSES = [f"c{i:02d}" for i in range(10)]


def save(path: Path, red: int, green: int, size=(9, 6), mode="RGB") -> None:
    """A picture of one colour: PNG keeps it exactly, JPEG about."""
    colour = {"L": red, "RGB": (red, green, 0), "RGBA": (red, green, 0, 128), "F": red}
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {"jpg": "jpeg"}.get(path.suffix[1:].lower(), path.suffix[1:].lower())
    Image.new(mode, size, colour[mode]).save(path, kind)


def made_up(folder: Path, counts=(4, 5, 6, 4, 7, 4, 9, 4, 4, 5), prefixes=None) -> Path:
    """Class folders whose images' red is 20 * class, green 10 * number, in many formats."""
    for c, count in enumerate(counts):
        prefix = prefixes[c] if prefixes else ""
        for i in range(count):
            name = f"{prefix}c{c:02d}/{i}.{SUFFIXES[i % 5]}"
            save(folder / name, 20 * c, 10 * i, size=(5 + i, 8 + c))
    return folder


FOLDERS = ["train/"] * 5 + ["val/"] * 2 + ["test/"] * 3


def make(data_dir, cache_dir, **changes) -> ImageFolder:
    values = {
        "ways": 2,
        "shots": 1,
        "queries": 2,
        "split": "seeded",
        "fractions": [0.6, 0.2, 0.2],
        "split_seed": 1,  # c02 is in the train split
        "image_size": 6,
        "channels": 3,
        "storage": "auto",
        "skip_unusable": False,
        "data_dir": None if data_dir is None else str(data_dir),
        "cache_dir": str(cache_dir),
    }
    return ImageFolder(**{**values, **changes})


def opened(*arguments, **changes) -> ImageFolder:
    task = make(*arguments, **changes)
    task.prepare()
    task.setup()
    return task


def names_in(task: ImageFolder) -> dict[str, list[str]]:
    return {
        split: sorted(task.store.names[c] for c in task.split_classes[split]) for split in SPLITS
    }


def test_images_of_every_format_and_size_become_episodes_of_one_shape(tmp_path):
    task = opened(made_up(tmp_path / "data"), tmp_path / "cache")
    assert task.input_shape == task.store.shape == (3, 6, 6)
    assert task.classes == 10
    assert task.store.names == CLASSES
    assert task.store.counts.tolist() == [4, 5, 6, 4, 7, 4, 9, 4, 4, 5]
    drawn = task.draw("train", RandomStreams(0, "train", torch.arange(100)))
    pixels = task.gather_pixels(drawn)[..., 3, 3].int()
    assert (pixels[..., 0] - 20 * drawn.classes[..., None]).abs().max() <= 4  # JPEG's loss
    assert (pixels[..., 1] % 10 < 4).logical_or(pixels[..., 1] % 10 > 6).all()


def test_a_seeded_split_has_the_fractions_and_depends_on_seed_and_names_alone():
    names = [f"{i:03d}" for i in range(50)]
    split = seeded_split(names, [0.64, 0.16, 0.2], 0)
    assert [len(split[part]) for part in SPLITS] == [32, 8, 10]
    assert sorted(name for part in split.values() for name in part) == names
    assert seeded_split(names[::-1], [0.64, 0.16, 0.2], 0) == split
    assert seeded_split(names, [0.64, 0.16, 0.2], 1) != split
    # every class lands in test about as often: 200 draws of 0.2, deviation 5.7
    often = Counter(
        name for seed in range(200) for name in seeded_split(names, [0.64, 0.16, 0.2], seed)["test"]
    )
    assert all(abs(often[name] - 40) < 5 * 5.7 for name in names)


def test_folders_determine_the_split(tmp_path):
    data = made_up(tmp_path / "data", prefixes=FOLDERS)
    task = opened(data, tmp_path / "cache", split="folders")
    assert names_in(task) == {
        "train": [f"train/{c}" for c in CLASSES[:5]],
        "validation": [f"val/{c}" for c in CLASSES[5:7]],
        "test": [f"test/{c}" for c in CLASSES[7:]],
    }


def test_a_csv_of_classes_says_the_split_and_leaves_out_the_others(tmp_path):
    lines = ["class,split", *(f"{c},train" for c in CLASSES[:3])]
    lines += ["c03,val", "c04, validation", "c05,test", "c06,test"]
    (tmp_path / "split.csv").write_text("\n".join(lines))
    data = made_up(tmp_path / "data")
    task = opened(data, tmp_path / "cache", split=str(tmp_path / "split.csv"))
    assert names_in(task) == {
        "train": CLASSES[:3],
        "validation": CLASSES[3:5],
        "test": CLASSES[5:7],
    }
    assert task.classes == 7


def table_of_files(tmp_path: Path, *more: str) -> str:
    lines = ["filename,label,split"]
    for c, part in zip(range(6), ["train", "train", "val", "val", "test", "test"], strict=True):
        lines += [f"all/{c}-{i}.png,kind {c},{part}" for i in range(3)]
        for i in range(3):
            save(tmp_path / "data" / "all" / f"{c}-{i}.png", 20 * c, i)
    (tmp_path / "split.csv").write_text("\n".join([*lines, *more]))
    return str(tmp_path / "split.csv")


def test_a_csv_may_list_files_in_any_folder(tmp_path):
    task = opened(tmp_path / "data", tmp_path / "cache", split=table_of_files(tmp_path))
    assert names_in(task)["test"] == ["kind 4", "kind 5"]
    drawn = task.draw("test", RandomStreams(0, "test", torch.arange(20)))
    red = task.gather_pixels(drawn)[..., 0, 3, 3]
    assert torch.equal(red.long(), 20 * drawn.classes[..., None].expand(red.shape))


def test_another_csv_gets_another_cache(tmp_path):
    first = opened(tmp_path / "data", tmp_path / "cache", split=table_of_files(tmp_path))
    text = Path(table_of_files(tmp_path)).read_text()
    (tmp_path / "split.csv").write_text(text.replace("kind 0", "sort 0"))
    second = opened(tmp_path / "data", tmp_path / "cache", split=str(tmp_path / "split.csv"))
    assert first.store.names[0] == "kind 0"
    assert "sort 0" in second.store.names


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("all/9-9.png,kind 0,train", r"lists files that do not exist:\s+row 19: all/9-9\.png"),
        ("all/0-0.png,kind 0,test", "row 19: the class 'kind 0' is in test here and in train"),
        ("all/0-0.png,kind 0,dev", "row 19: 'dev' is not a split. Write train, validation or test"),
        ("all/0-0.png,,train", "'label' is missing in row 19"),
    ],
)
def test_a_csv_that_is_wrong_is_named_with_its_line(line, says, tmp_path):
    table = table_of_files(tmp_path, line)
    with pytest.raises(UserError, match=rf"split\.csv.*{says}"):
        opened(tmp_path / "data", tmp_path / "cache", split=table)


def test_other_csvs_are_refused_with_what_they_should_be(tmp_path):
    data = made_up(tmp_path / "data")
    table = tmp_path / "split.csv"
    with pytest.raises(
        UserError, match=r"split\.csv is not a file. It must be folders, seeded, or"
    ):
        make(data, tmp_path / "cache", split=str(table))
    table.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="has the columns a, b. Its first line must be"):
        make(data, tmp_path / "cache", split=str(table))
    table.write_text("class,split\nc0,train\n")
    with pytest.raises(UserError, match="lists the class 'c0', but .* Did you mean c0"):
        make(data, tmp_path / "cache", split=str(table)).prepare()


def test_channels_are_inferred_from_the_images(tmp_path):
    for c in CLASSES:
        for i in range(3):
            save(tmp_path / "grey" / c / f"{i}.png", 7, 7, mode="L")
    assert opened(tmp_path / "grey", tmp_path / "cache", channels=None).store.shape == (1, 6, 6)
    made_up(tmp_path / "colour")
    assert opened(tmp_path / "colour", tmp_path / "cache", channels=None).store.shape == (3, 6, 6)


@pytest.mark.parametrize(("channels", "shape"), [(1, (1, 6, 6)), (3, (3, 6, 6))])
def test_mixed_channels_are_refused_without_task_channels(channels, shape, tmp_path):
    data = made_up(tmp_path / "data")
    save(data / "c03" / "9.png", 60, 0, mode="L")
    with pytest.raises(
        UserError,
        match=r"c03/9\.png is grey, not coloured.*must be like the first.*task\.channels=3",
    ):
        make(data, tmp_path / "cache", channels=None).prepare()
    assert opened(data, tmp_path / "cache", channels=channels).store.shape == shape


def test_a_photograph_is_turned_upright(tmp_path):
    data = made_up(tmp_path / "data")
    picture = Image.fromarray(np.repeat([[[200, 0, 0], [0, 200, 0]]], 2, axis=0).astype(np.uint8))
    turned = picture.transpose(Image.Transpose.ROTATE_90)  # as a camera held sideways stores it
    exif = Image.Exif()
    exif[0x0112] = 6  # "to be shown turned clockwise"
    turned.resize((6, 6), Image.Resampling.NEAREST).save(data / "c00" / "000.png", exif=exif)
    task = opened(data, tmp_path / "cache")
    photograph = task.store.gather(task.store.find(torch.tensor(0), torch.tensor([1])))[0]
    assert photograph[0, 3, 0] > photograph[0, 3, 5]  # red is on the left
    assert photograph[1, 3, 0] < photograph[1, 3, 5]


def odd_folder(kind: str, data: Path) -> Path:
    if kind == "text":
        (data / "c02" / "notes.txt").write_text("bought in May")
    elif kind == "folder":
        (data / "c02" / "more").mkdir()
    elif kind == "dangling link":
        (data / "c02" / "9.png").symlink_to(data / "nowhere.png")
    elif kind == "broken":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(data / "c02" / "1.jpg")
        content = (data / "c02" / "1.jpg").read_bytes()
        (data / "c02" / "1.jpg").write_bytes(content[: len(content) // 2])
    elif kind == "not an image":
        (data / "c02" / "1.jpg").write_text("<html>404</html>")
    elif kind == "32 bit":
        save(data / "c02" / "9.tiff", 9, 9, mode="F")
    elif kind == "small":
        for i in range(2, 6):
            (data / "c02" / f"{i}.{SUFFIXES[i % 5]}").unlink()
    return data


ODD = [
    ("text", r"c02/notes\.txt is not a readable image \(its content is none of BMP, GIF, JPEG"),
    ("folder", r"c02/more is not a readable image \(Is a directory"),
    ("dangling link", r"c02/9\.png is not a readable image \(No such file"),
    ("broken", r"c02/1\.jpg is not a readable image .*truncated"),
    ("not an image", r"c02/1\.jpg is not a readable image"),
    ("32 bit", r"c02/9\.tiff has a format that does not define white\. .*task\.white_level"),
    ("small", r"An episode needs 3 images .*1 of .* have fewer: 'c02'"),
]


@pytest.mark.parametrize(("kind", "says"), ODD)
def test_odd_files_and_small_classes_are_refused_by_name(kind, says, tmp_path):
    data = odd_folder(kind, made_up(tmp_path / "data"))
    with pytest.raises(UserError, match=says):
        make(data, tmp_path / "cache").prepare()
    assert not [p for p in (tmp_path / "cache").glob("*") if p.suffix != ".lock"]


@pytest.mark.parametrize("kind", [kind for kind, _ in ODD])
def test_odd_files_and_small_classes_are_left_out_on_request(kind, tmp_path, capsys):
    data = odd_folder(kind, made_up(tmp_path / "data"))
    task = opened(data, tmp_path / "cache", skip_unusable=True)
    assert "Left out 1 " in capsys.readouterr().out
    seen = {c for split in SPLITS for c in task.split_classes[split].tolist()}
    assert (2 in seen) == (kind != "small")
    assert task.store.counts[2] == {"broken": 5, "not an image": 5, "small": 2}.get(kind, 6)


def test_what_file_managers_leave_behind_is_not_seen(tmp_path):
    data = made_up(tmp_path / "data")
    for name in (".DS_Store", "Thumbs.db"):
        (data / "c00" / name).write_text("")
    (data / ".git").mkdir()
    assert opened(data, tmp_path / "cache").store.names == CLASSES


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("nowhere", r"There is no task\.data_dir=.*nowhere\. Set task\.data_dir"),
        ("empty", r"contains no folder\. Set task\.data_dir"),
        ("empty class", r"c02 has no images\. Add images"),
        (
            "few classes",
            "2-way episode needs 2 classes with 3 images each .* train split has 1",
        ),
        ("splits", r"contains train/, val/ and test/, .* Set task\.split=folders"),
    ],
)
def test_folders_that_make_no_episodes_are_refused_with_the_remedy(kind, says, tmp_path):
    data = tmp_path / "data"
    if kind == "empty":
        data.mkdir()
    elif kind == "empty class":
        made_up(data)
        shutil.rmtree(data / "c02")
        (data / "c02").mkdir()
    elif kind == "few classes":
        made_up(data, counts=(4, 4, 4))
    elif kind == "splits":
        made_up(data, prefixes=FOLDERS)
    with pytest.raises(UserError, match=says):
        make(tmp_path / "nowhere" if kind == "nowhere" else data, tmp_path / "cache").prepare()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data_dir": None}, r"task\.data_dir is not set\. Set task\.data_dir to a folder"),
        ({"fractions": [0.5, 0.2, 0.2]}, "at least 0 with sum 1"),
        ({"split": "folders"}, r"lacks the folder train/ .* set task\.split=seeded"),
    ],
)
def test_settings_that_make_no_sense_are_refused_at_once(change, says, tmp_path):
    with pytest.raises(UserError, match=says):
        make(**{"data_dir": made_up(tmp_path / "data"), "cache_dir": tmp_path, **change})


def test_a_class_in_two_splits_is_refused(tmp_path):
    data = made_up(tmp_path / "data", prefixes=FOLDERS)
    shutil.copytree(data / "train" / "c00", data / "test" / "c00")
    with pytest.raises(UserError, match="The class 'c00' is in train and in test"):
        make(data, tmp_path / "cache", split="folders").prepare()


def test_a_data_folder_is_only_read(tmp_path):
    data = made_up(tmp_path / "data")
    before = {p: p.stat().st_mtime_ns for p in [data, *data.rglob("*")]}
    for path in [*data.rglob("*"), data]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    opened(data, tmp_path / "cache")
    assert {p: p.stat().st_mtime_ns for p in [data, *data.rglob("*")]} == before
    for path in [data, *data.rglob("*")]:
        path.chmod(0o755)


def test_changed_images_are_decoded_again(tmp_path):
    data = made_up(tmp_path / "data")
    opened(data, tmp_path / "cache")
    save(data / "c00" / "0.png", 255, 255)
    row = torch.tensor([0])
    assert opened(data, tmp_path / "cache").store.gather(row)[0, 0, 0, 0] == 255


def test_each_image_of_a_plain_folder_is_a_class_of_its_own_split_by_the_seed(tmp_path):
    folder = tmp_path / "photos"
    names = [f"{i}.png" for i in range(7)] + ["trip/8.png", "trip/far/9.png", "trip/10.png"]
    for i, name in enumerate(names):
        save(folder / name, 20 * i, 100)
    save(folder / ".hidden" / "11.png", 0, 0)
    (folder / "trip" / "Thumbs.db").write_text("litter")
    task = make(folder, tmp_path / "cache", split="images", queries=1)
    assert (task.classes, task.found["classes"]) == (10, 10)
    field = ImageField(of=task)
    field.prepare()
    field.setup()
    used = names_in(field.of)
    assert sorted(name for of_split in used.values() for name in of_split) == sorted(names)
    assert [len(used[split]) for split in SPLITS] == [6, 2, 2]
    assert used == {s: sorted(v) for s, v in seeded_split(names, [0.6, 0.2, 0.2], 1).items()}
    drawn = field.draw("test", RandomStreams(0, "test", torch.arange(30)))
    values = field.gather(drawn, torch.float64).query.targets * 255
    reds = {20 * names.index(name) for name in used["test"]}
    assert set(values[..., 0].round().flatten().long().tolist()) == reds
    with pytest.raises(UserError, match="2 images each .* train split has 6 classes with 1 each"):
        task.prepare()  # for a classification each class is too small
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no images in .*empty"):
        make(tmp_path / "empty", tmp_path / "cache", split="images")
