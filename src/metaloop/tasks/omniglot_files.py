"""Find and read Omniglot's 1,623 x 20 drawings, zipped or unpacked."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from metaloop.errors import UserError
from metaloop.tasks.image_cache import Images

SIZE = 28
DRAWINGS = 20
WHAT_TO_PUT = (
    "Put images_background.zip and images_evaluation.zip of github.com/brendenlake/omniglot "
    "(folder python/), as they are or unpacked, into one folder and name it with task.data_dir."
)
_ENTRY = re.compile(r"(?:^|/)([^/]+)/(character\d\d)/(\d{4}_\d\d)\.png$")


class Drawing(NamedTuple):
    """Where one PNG lies: in an archive under this name, or, without archive, at this path."""

    archive: Path | None
    name: str


def alphabets() -> dict[str, int]:
    """The fifty alphabets, each with its number of characters."""
    text = (resources.files("metaloop.tasks") / "splits/omniglot_alphabets.json").read_text()
    content: dict[str, int] = json.loads(text)
    return content


def class_names() -> list[str]:
    """The 1,623 classes "Alphabet/characterNN" in alphabetical order: class c is the c-th."""
    return sorted(f"{a}/character{c:02d}" for a, n in alphabets().items() for c in range(1, n + 1))


def find_drawings(folder: Path) -> dict[str, list[Drawing]]:
    """Find every class's 20 drawings in a folder's zip archives or subfolders.

    Raises:
        UserError: no folder, a broken archive, a missing alphabet, character or drawing.

    """
    if not folder.is_dir():
        raise UserError(f"task.data_dir={folder} is no folder. {WHAT_TO_PUT}")
    found: dict[str, dict[str, Drawing]] = {}
    for drawing in _candidates(folder):
        if match := _ENTRY.search(drawing.name):
            alphabet, character, file = match.groups()
            found.setdefault(f"{alphabet}/{character}", {})[file] = drawing
    _check_complete(folder, found)
    return {name: [files[f] for f in sorted(files)] for name, files in sorted(found.items())}


def decode(drawings: Mapping[str, list[Drawing]]) -> Images:
    """Decode to [1623, 20, 1, 28, 28] uint8, white on black, with a progress bar.

    Lanczos on the grey image: Pillow would resize Omniglot's one-bit PNGs by nearest neighbour.
    """
    images = np.empty((len(drawings), DRAWINGS, 1, SIZE, SIZE), dtype=np.uint8)
    archives: dict[Path, zipfile.ZipFile] = {}
    try:
        total = images.shape[0] * DRAWINGS
        # disable=None: no bar where the output is no terminal
        with tqdm(total=total, desc="Decoding Omniglot", unit="image", disable=None) as bar:
            for row, files in zip(images, drawings.values(), strict=True):
                for image, drawing in zip(row, files, strict=True):
                    image[0] = _decode_one(drawing, archives)
                bar.update(DRAWINGS)
    finally:
        for archive in archives.values():
            archive.close()
    return images


def fingerprint(folder: Path) -> str:
    """Name the state of a data folder without reading it: the key of its cache."""
    state = [str(folder.resolve())]
    for path in sorted(folder.rglob("*")):
        stat = path.stat()
        state.append(f"{path.name} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(state).encode()).hexdigest()[:16]


def _candidates(folder: Path) -> Iterable[Drawing]:
    for path in sorted(folder.glob("*.zip")):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile as error:
            raise UserError(
                f"{path} is no whole zip archive ({error}): it was probably cut short. "
                f"Fetch it again. {WHAT_TO_PUT}"
            ) from error
        yield from (Drawing(path, name) for name in names if not name.startswith("__MACOSX"))
    yield from (Drawing(None, str(path)) for path in folder.rglob("*.png"))


def _check_complete(folder: Path, found: Mapping[str, Mapping[str, Drawing]]) -> None:
    if not found:
        raise UserError(
            f"{folder} holds no Omniglot: no drawing <alphabet>/characterNN/NNNN_NN.png, zipped "
            f"or unpacked. {WHAT_TO_PUT}"
        )
    expected = class_names()
    missing = [name for name in expected if name not in found]
    whole_alphabets = [
        a
        for a in alphabets()
        if all(f"{a}/character{c + 1:02d}" in missing for c in range(alphabets()[a]))
    ]
    if whole_alphabets:
        raise UserError(
            f"{folder} lacks {len(whole_alphabets)} of Omniglot's 50 alphabets: "
            f"{_some(whole_alphabets)}. {WHAT_TO_PUT}"
        )
    if missing:
        raise UserError(
            f"{folder} lacks {len(missing)} of Omniglot's 1,623 characters: {_some(missing)}. "
            f"{WHAT_TO_PUT}"
        )
    if foreign := sorted(set(found) - set(expected)):
        raise UserError(
            f"{folder} holds characters that Omniglot has not: {_some(foreign)}. Take them out."
        )
    for name, files in found.items():
        if len(files) != DRAWINGS:
            raise UserError(
                f"{folder}: {name} has {len(files)} drawings; Omniglot has {DRAWINGS} of each "
                f"character. {WHAT_TO_PUT}"
            )


def _decode_one(
    drawing: Drawing, archives: dict[Path, zipfile.ZipFile]
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    place = drawing.name if drawing.archive is None else f"{drawing.archive}: {drawing.name}"
    try:
        if drawing.archive is None:
            content = Path(drawing.name).read_bytes()
        else:
            if drawing.archive not in archives:
                archives[drawing.archive] = zipfile.ZipFile(drawing.archive)
            content = archives[drawing.archive].read(drawing.name)
        with Image.open(io.BytesIO(content)) as image:
            small = image.convert("L").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, zipfile.BadZipFile, OSError, SyntaxError) as error:
        raise UserError(f"{place} is no readable PNG ({error}). Fetch it again.") from error
    return 255 - np.asarray(small)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" .." if len(names) > 3 else "")
