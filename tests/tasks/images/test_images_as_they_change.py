"""A user's images as they are now: decoded anew after any change, read alike, looked at once."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metaloop.errors import UserError
from metaloop.tasks.images.image_store import store_arrays
from metaloop.tasks.images.uniform_classes import warn_of_uniform
from metaloop.tasks.readers.given_images import read_images
from tests.tasks.images.test_image_folder import make, opened

NOISE = np.random.default_rng(0).integers(0, 200, (6, 6, 3), dtype=np.uint8)
SPLITS = {"train": "ab", "val": "cd", "test": "ef"}


def draw(path: Path, corner: int = 0) -> Path:
    """A picture of noise, uncompressed: whatever its corner, its file is of one size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = NOISE.copy()
    pixels[0, 0] = corner
    Image.fromarray(pixels).save(path)
    return path


def lay_out(place: Path, prefixes: bool) -> Path:
    for split, names in SPLITS.items():
        for name in names:
            for i in range(3):
                draw(place / (split if prefixes else "") / name / f"{i}.bmp", 10 * i)
    return place


def linked(kind: str, folder: Path) -> tuple[Path, str, Path]:
    """Data reached through links or a table: its folder, task.split, and where an image lies."""
    elsewhere, data = folder / "elsewhere", folder / "data"
    data.mkdir()
    lay_out(elsewhere, prefixes=kind == "split folders")
    if kind == "split folders":
        for split in SPLITS:
            (data / split).symlink_to(elsewhere / split)
        return data, "folders", elsewhere / "train" / "a" / "1.bmp"
    image = elsewhere / "a" / "1.bmp"
    if kind == "table":
        lines = ["filename,label,split"]
        for split, names in SPLITS.items():
            lines += [f"../elsewhere/{n}/{i}.bmp,{n},{split}" for n in names for i in range(3)]
        (folder / "split.csv").write_text("\n".join(lines))
        return data, str(folder / "split.csv"), image
    for path in elsewhere.iterdir():
        if kind == "class folders":
            (data / path.name).symlink_to(path)
        else:
            (data / path.name).mkdir()
            for file in path.iterdir():
                (data / path.name / file.name).symlink_to(file)
    return data, "seeded", image


@pytest.mark.parametrize("kind", ["split folders", "class folders", "files", "table"])
def test_changed_files_behind_links_and_tables_are_decoded_again(kind, tmp_path):
    data, split, image = linked(kind, tmp_path)
    place = {"data_dir": data, "cache_dir": tmp_path / "cache", "split": split}
    place |= {"fractions": [0.34, 0.33, 0.33]}

    def corner() -> int:
        task = opened(**place)
        return int(
            task.store.gather(task.store.find(torch.tensor(0), torch.tensor([1])))[0, 0, 0, 0]
        )

    assert corner() == 10
    before = image.stat()
    draw(image, 77)
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a copy that keeps the date
    assert image.stat().st_size == before.st_size
    assert corner() == 77


def test_unchanged_images_are_decoded_once(tmp_path):
    data = lay_out(tmp_path / "data", prefixes=True)
    for _ in range(2):
        opened(data, tmp_path / "cache", split="folders")
        (data / "notes.txt").write_text("of no class")  # nor read
        assert len([p for p in (tmp_path / "cache").iterdir() if p.is_dir()]) == 1


def test_another_background_or_white_level_gets_another_cache(tmp_path):
    data = lay_out(tmp_path / "data", prefixes=True)
    clear = Image.new("RGBA", (6, 6), (0, 0, 0, 0))
    clear.save(data / "train" / "a" / "1.png")

    def pixels(**change) -> torch.Tensor:
        task = opened(data, tmp_path / "cache", split="folders", **change)
        return task.store.gather(task.store.find(torch.tensor(0), torch.tensor([2])))[0]

    assert pixels().unique().tolist() == [255]
    assert pixels(background="black").unique().tolist() == [0]
    assert pixels(background=7).unique().tolist() == [7]
    opened(data, tmp_path / "cache", split="folders", white_level=4095)
    assert len([p for p in (tmp_path / "cache").iterdir() if p.is_dir()]) == 4
    with pytest.raises(
        UserError, match=r"task\.background=whit is not a colour\. Did you mean white"
    ):
        make(data, tmp_path / "cache", background="whit")


def spoil(folder: Path) -> None:
    """Twelve files that are no images, and what file managers leave behind."""
    for i in range(12):
        (folder / f"note {i:02d}.txt").write_text("bought in May")
    (folder / "Thumbs.db").write_text("")
    (folder / ".DS_Store").write_text("")


def test_all_unreadable_files_are_listed_at_once(tmp_path):
    data = lay_out(tmp_path / "data", prefixes=True)
    spoil(data / "train" / "a")
    spoil(data / "train")
    (data / "val" / "c" / "0.bmp").write_bytes(b"<html>404</html>")
    task = make(data, tmp_path / "cache", split="folders")
    says = r"(?s)^{} files cannot be used:(\n  [^\n]*not a readable[^\n]*){{10}}\n  and {} more\n.*"
    with pytest.raises(UserError, match=says.format(13, 3) + r"task\.skip_unusable=true"):
        task.prepare()
    with pytest.raises(UserError, match=says.format(12, 2) + "with skip_unusable=true"):
        read_images(data / "train", task.image_files(), skip_unusable=False)
    given = read_images(data / "train", task.image_files(), skip_unusable=True)
    assert (len(given.names), len(given.skipped)) == (6, 12)


def test_unusable_files_are_left_out_and_listed(tmp_path, capsys):
    data = lay_out(tmp_path / "data", prefixes=True)
    spoil(data / "train" / "a")
    task = opened(data, tmp_path / "cache", split="folders", skip_unusable=True)
    said = capsys.readouterr().out
    assert "Left out 12 unusable files:" in said
    assert "note 00.txt is not a readable image" in said
    assert task.store.counts.tolist() == [3] * 6


def test_classes_whose_images_are_all_the_same_or_of_one_colour_are_named():
    drawn = np.random.default_rng(0).integers(0, 256, (3, 1, 4, 4), dtype=np.uint8)
    same = np.repeat(drawn[:1], 3, 0)
    flat = np.repeat(np.repeat(drawn[:, :, :1, :1], 4, 2), 4, 3)
    almost = np.concatenate([flat[:2], drawn[:1]])
    store = store_arrays([drawn, same, flat, almost], ["drawn", "same", "flat", "almost"])
    with pytest.warns(
        UserWarning, match=r"from 2 of 4 classes.*:\n  same\n  flat\nCheck .*task\.background"
    ):
        warn_of_uniform(store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_uniform(store_arrays([drawn, almost, drawn[:1]]))
