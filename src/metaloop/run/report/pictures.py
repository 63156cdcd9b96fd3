"""Pictures embedded in a page, as data URIs."""

import base64
import io
import struct
from collections.abc import Collection
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from metaloop.run.report.html import Html, paragraph, tag

PNG = b"\x89PNG\r\n\x1a\n"
DPI, SCREEN_DPI = 120, 96  # of the pictures that metaloop saves; of a page's px
SMALLEST = 0.62  # fraction of its width that a picture keeps on a narrow screen, and scrolls
CAPTIONS = {
    "adaptation_curve": "Loss and metrics along the inner loop",
    "comparison": "Paired differences between learners",
    "confusion": "Which class was taken for which",
    "fit": "The fit before and after adaptation",
    "learning_curve": "Learning curve",
    "one_task": "One task before and after adaptation",
    "predictions": "Answers to the query images",
    "reliability": "Calibration: how many answers are right, by confidence",
    "step_sizes": "Learned inner step sizes",
    "sweep": "Results of the learners",
}


def embed_all(folder: Path, of: str, leave_out: Collection[str] = ()) -> list[Html]:
    """Embed the PNG pictures of a folder; `of` says in the captions what they show."""
    paths = (path for path in sorted(folder.glob("*.png")) if path.stem not in leave_out)
    return [_embed_file(path, f"{_caption(path.stem)} ({of})") for path in paths]


def embed_figure(figure: Figure, caption: str) -> Html:
    """Embed a figure as SVG, which stays sharp in print."""
    file = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "metaloop"}):  # the same bytes for the same figure
        figure.savefig(file, format="svg", metadata={"Date": None})
    width = SCREEN_DPI * float(figure.get_figwidth())
    return _picture("svg+xml", file.getvalue(), width, caption)


def _embed_file(path: Path, caption: str) -> Html:
    try:
        content = path.read_bytes()
    except OSError as error:
        return paragraph(f"No picture {path.name}: {error.strerror}.", "problem")
    if not content.startswith(PNG) or len(content) < 24:
        return paragraph(f"No picture {path.name}: it is no whole PNG file.", "problem")
    (width,) = struct.unpack(">I", content[16:20])
    return _picture("png", content, width * SCREEN_DPI / DPI, caption)


def _picture(kind: str, content: bytes, width: float, caption: str) -> Html:
    image = tag(
        "img",
        src=f"data:image/{kind};base64,{base64.b64encode(content).decode()}",
        alt=caption,
        style=f"width:{width:.0f}px;min-width:{SMALLEST * width:.0f}px",
    )
    scrolled = tag("div", image, class_="wide", tabindex="0")
    return tag("figure", scrolled, tag("figcaption", caption))


def _caption(name: str) -> str:
    return CAPTIONS.get(name, name.replace("_", " "))
