"""Find images in one folder per class, or by a CSV file that lists them with their class."""

from collections.abc import Collection, Iterator
from pathlib import Path

from metaloop.errors import UserError, nearest
from metaloop.tasks.random_streams import Split
from metaloop.tasks.readers.image_files import ImageFile
from metaloop.tasks.readers.table import list_names, to_label
from metaloop.tasks.readers.table_files import read_table
from metaloop.tasks.readers.visible_files import files_below, is_visible, list_some, visible
from metaloop.tasks.sources.class_splits import FOLDERS, SPLIT_WORDS

ClassFiles = dict[str, list[ImageFile]]


def list_folders(folder: Path) -> list[Path]:
    """List the visible folders in a folder, by name.

    Raises:
        UserError: if there is no such folder.

    """
    if not folder.is_dir():
        raise UserError(
            f"There is no folder {folder}. Create it with one folder per class, or set "
            "task.data_dir to another."
        )
    return [path for path in visible(folder) if path.is_dir()]


def holds_splits(folder: Path) -> bool:
    """Check whether any of the folders train/, val/ and test/ exists."""
    return any((folder / name).is_dir() for name in FOLDERS.values())


def list_split_folders(folder: Path, needed: Collection[Split] = ()) -> dict[str, Path]:
    """List the class folders in train/, val/ and test/, by "train/class".

    Raises:
        UserError: if a needed one is missing, or all are.

    """
    for part, name in FOLDERS.items():
        if (part in needed or not holds_splits(folder)) and not (folder / name).is_dir():
            raise UserError(
                f"{folder} lacks the folder {name}/ with the {part} split's classes, one folder "
                "each. Create train/, val/ and test/, or set task.split=seeded."
            )
    return {
        f"{name}/{path.name}": path
        for name in FOLDERS.values()
        if (folder / name).is_dir()
        for path in list_folders(folder / name)
    }


def list_images(classes: dict[str, Path]) -> ClassFiles:
    """List the files in every class folder, which should be images, by class name.

    Raises:
        UserError: if a folder is empty.

    """
    found = {
        name: [ImageFile(None, str(path)) for path in visible(folder)]
        for name, folder in classes.items()
    }
    if empty := [name for name, images in found.items() if not images]:
        raise UserError(
            f"{classes[empty[0]]} has no images{_more(empty)}. Add images, or remove the folder."
        )
    return found


def list_single_images(folder: Path) -> ClassFiles:
    """List the files in a folder and those below it, each as the only image of its class.

    Raises:
        UserError: if there are none.

    """
    names = [path.relative_to(folder) for path in files_below(folder)]
    files = sorted(str(name) for name in names if all(map(is_visible, name.parts)))
    if not files:
        raise UserError(f"There are no images in {folder}. Add some, or set task.data_dir.")
    return {name: [ImageFile(None, str(folder / name))] for name in files}


def _more(names: list[str]) -> str:
    return f", nor do {len(names) - 1} other folders" if names[1:] else ""


class SplitTable:
    """A table that assigns classes to splits.

    Its columns are `class,split`, where every class is a folder, or `filename,label,split`, where
    filenames are relative to the data's folder and the label is the class. A split is train,
    validation (or val) or test. Classes that the file does not list are not used.

    Raises:
        UserError: if the file is missing or has other columns, or rows contradict each other.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.split_of: dict[str, Split] = {}
        self.files: dict[str, list[tuple[int, str]]] = {}  # row and filename of every image
        for number, row in self._rows():
            name = row.get("class") or row["label"]
            split = self._read_split(number, row["split"])
            if self.split_of.setdefault(name, split) != split:
                raise UserError(
                    f"{path}, row {number}: the class '{name}' is in {split} here and in "
                    f"{self.split_of[name]} above. A class must be in one split."
                )
            if "filename" in row:
                self.files.setdefault(name, []).append((number, row["filename"]))

    def find(self, folder: Path) -> ClassFiles:
        """Find the listed images, or the images in the listed classes' folders.

        Raises:
            UserError: if a file or a class's folder does not exist.

        """
        if not self.files:
            folders = {to_label(path.name): path for path in list_folders(folder)}
            for name in self.split_of:
                if name not in folders:
                    raise UserError(
                        f"{self.path} lists the class '{name}', but {folder} has no such folder. "
                        f"{nearest(name, folders)}Correct the file or add the folder."
                    )
            return list_images({n: folders[n] for n in sorted(self.split_of)})
        named = sorted(row for rows in self.files.values() for row in rows)
        if lacking := [f"row {n}: {name}" for n, name in named if not (folder / name).is_file()]:
            raise UserError(
                f"{self.path} lists files that do not exist:{list_some(lacking)}\n"
                f"Filenames are relative to {folder}: correct the rows or add the files."
            )
        return {
            name: [ImageFile(None, str(folder / file)) for _, file in files]
            for name, files in sorted(self.files.items())
        }

    def _rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        if not self.path.is_file():
            raise UserError(
                f"task.split={self.path} is not a file. It must be folders, seeded, or for fields "
                "images, or the path of a CSV file with the columns class,split or "
                "filename,label,split."
            )
        table = read_table(self.path)
        if not any(need <= set(table.columns) for need in ({"class", "split"}, _BY_FILE)):
            raise UserError(
                f"{self.path} has the columns {list_names(list(table.columns))}. Its first line "
                "must be class,split or filename,label,split."
            )
        names = [name for name in ("class", "filename", "label", "split") if name in table]
        columns = [table.texts(n) if n == "filename" else table.labels(n) for n in names]
        for row, cells in enumerate(zip(*columns, strict=True), 1):
            yield row, dict(zip(names, cells, strict=True))

    def _read_split(self, row: int, name: str) -> Split:
        if name not in SPLIT_WORDS:
            raise UserError(
                f"{self.path}, row {row}: '{name}' is not a split. Write train, validation or test."
            )
        return SPLIT_WORDS[name]


_BY_FILE = {"filename", "label", "split"}
