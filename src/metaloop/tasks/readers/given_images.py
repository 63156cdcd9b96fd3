"""Read images that a user gives: class folders, a plain folder, or a table of paths."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from metaloop.errors import UserError
from metaloop.tasks.readers.given import Given
from metaloop.tasks.readers.image_files import ImageFile, ImageFiles, OddImageError
from metaloop.tasks.readers.table import list_names, to_label
from metaloop.tasks.readers.table_files import read_table
from metaloop.tasks.readers.visible_files import explain_unusable, list_some, visible

REMEDY = "Repair or remove these files, or leave them out with skip_unusable=true."


class FoundImages(NamedTuple):
    """Image files, not decoded yet; a file without a class has the label ""."""

    files: list[Path]
    names: list[str]
    labels: list[str] | None


def read_images(place: Path, reader: ImageFiles, *, skip_unusable: bool) -> Given:
    """Find and decode a folder's or table's images, [rows, channels, height, width] uint8.

    Folders in a folder are classes, as in training. Files in a folder without folders are images
    without labels. Files of file managers are ignored, and non-images next to class folders too.

    Raises:
        UserError: if there are no images, an empty class, a table without `path` or with a path
            that does not exist; or, unless they are skipped, unusable files (all are listed): not
            a readable image, or an image next to the class folders.

    """
    files, names, labels = _of_table(place) if place.is_file() else _of_folder(place)
    images, kept, odd = [], [], []
    for row, file in enumerate(files):
        is_stray = labels is not None and not labels[row]
        try:
            image = reader.read(ImageFile(None, str(file)))
        except OddImageError as error:
            if not is_stray:
                odd.append(str(error))
            continue
        if is_stray:
            odd.append(f"{file} is next to the class folders.")
            continue
        images.append(image)
        kept.append(row)
    if odd and not skip_unusable:
        raise UserError(explain_unusable(odd, REMEDY))
    if not kept:
        raise UserError(f"{place} has no usable image: {odd[0]}")
    return Given(
        place,
        np.stack(images),
        [names[row] for row in kept],
        None if labels is None else [labels[row] for row in kept],
        columns={"file": [names[row] for row in kept]},
        skipped=odd,
    )


def _of_folder(place: Path) -> FoundImages:
    classes = [p for p in visible(place) if p.is_dir()]
    if not classes:
        files = visible(place)
        _require_some(files, place)
        return FoundImages(files, [p.name for p in files], None)
    files, labels = [], []
    for folder in classes:
        members = visible(folder)
        _require_some(members, folder)
        files += members
        labels += [to_label(folder.name)] * len(members)
    stray = [p for p in visible(place) if p.is_file()]
    names = [str(p.relative_to(place)) for p in [*files, *stray]]
    return FoundImages([*files, *stray], names, [*labels, *[""] * len(stray)])


def _of_table(path: Path) -> FoundImages:
    table = read_table(path)
    if "path" not in table:
        raise UserError(
            f"{path} has the columns {list_names(list(table.columns))}, but the run was trained on "
            "images. Add a column `path`, with files relative to the table, and a column `label`."
        )
    names = table.texts("path")
    files = [path.parent / name for name in names]
    if lacking := [str(file) for file in files if not file.is_file()]:
        raise UserError(
            f"{path} lists files that do not exist:{list_some(lacking)}\n"
            "Paths are relative to the table: correct them or add the files."
        )
    return FoundImages(files, names, table.labels("label") if "label" in table else None)


def _require_some(files: list[Path], folder: Path) -> None:
    if not files:
        raise UserError(f"{folder} is empty. Add images, in one folder per class, or remove it.")
