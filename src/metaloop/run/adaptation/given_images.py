"""Images that a user gives: class folders, a plain folder, or a CSV file of paths."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from metaloop.adapted import Array
from metaloop.errors import UserError
from metaloop.run.adaptation.given import Given, read_table
from metaloop.tasks import ImageClasses, Task
from metaloop.tasks.images.image_cache import OddImageError
from metaloop.tasks.images.image_files import ImageFile, ImageFiles

ALIKE = "the run was trained on such images."
SKIP = "Take it out, or set skip_odd_files=true, which names and skips such files."


def find_images(place: Path) -> Given:
    """Find a folder's or CSV file's images, not yet decoded.

    Folders in a folder are classes; files in it, without folders, are images without labels.
    Hidden files are passed over.

    Raises:
        UserError: nothing there, an empty class, or a CSV file without a `path` or with a path
            to nothing.

    """
    if place.is_file():
        return _of_csv(place)
    classes = [p for p in _visible(place) if p.is_dir()]
    if not classes:
        files = list(_visible(place))
        _require_some(files, place)
        return Given(place, [p.name for p in files], None, files=files)
    files, labels = [], []
    for folder in classes:
        members = list(_visible(folder))
        _require_some(members, folder)
        files += members
        labels += [folder.name] * len(members)
    # a file beside the class folders is of no class: it will be odd
    stray = [p for p in _visible(place) if p.is_file()]
    names = [str(p.relative_to(place)) for p in [*files, *stray]]
    return Given(place, names, [*labels, *[""] * len(stray)], files=[*files, *stray])


def decode_images(given: Given, task: Task, *, skip_odd: bool) -> tuple[Given, Array, list[str]]:
    """Decode to [rows, channels, height, width] uint8, as the task's own images are.

    Returns:
        what was given without the odd files, its images, and the odd files with what they are.

    Raises:
        UserError: an odd file, unless they are skipped: no readable image, of other channels
            than the task's, or beside the class folders.

    """
    channels, size, _ = task.input_shape
    is_inverted = isinstance(task, ImageClasses) and task.is_inverted
    reader = ImageFiles(size, channels, alike=ALIKE, is_inverted=is_inverted)
    images, kept, odd = [], [], []
    for row, file in enumerate(given.files):
        try:
            if given.labels is not None and not given.labels[row]:
                raise OddImageError(f"{file} lies beside the class folders.")
            images.append(reader.read(ImageFile(None, str(file))))
            kept.append(row)
        except OddImageError as error:
            if not skip_odd:
                raise UserError(f"{error} {SKIP}") from error
            odd.append(str(error))
    if not kept:
        raise UserError(f"{given.place} has no usable image: {odd[0]}")
    labels = None if given.labels is None else [str(given.labels[row]) for row in kept]
    names, files = [given.names[row] for row in kept], [given.files[row] for row in kept]
    return given._replace(names=names, labels=labels, files=files), np.stack(images), odd


def _of_csv(path: Path) -> Given:
    header, rows = read_table(path)
    if "path" not in header:
        raise UserError(
            f"{path} has the columns {', '.join(header)}; the run was trained on images. Give it a "
            "column `path`, to files relative to the CSV file, and a column `label`."
        )
    column = header.index("path")
    files = [path.parent / row[column] for row in rows]
    for file in files:
        if not file.is_file():
            raise UserError(f"{path} names {file}, which is no file. Correct the path.")
    labels = None
    if "label" in header:
        labels = [row[header.index("label")] for row in rows]
        if unlabelled := [f for f, label in zip(files, labels, strict=True) if not label]:
            raise UserError(
                f"{path} has no label for {unlabelled[0]}. Label all rows, or leave the column out."
            )
    return Given(path, [row[column] for row in rows], labels, files=files)


def _visible(folder: Path) -> Iterable[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def _require_some(files: list[Path], folder: Path) -> None:
    if not files:
        raise UserError(
            f"{folder} is empty. Put images into it, a folder for each class, or take it out."
        )
