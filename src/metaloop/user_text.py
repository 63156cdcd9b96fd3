"""Text of a user on its way out, harmless where it goes: folder names, labels, paths, values.

Imports no torch: commands stay quick.
"""

import math
import os
import re
import shlex
import sys
import unicodedata
from typing import IO, Any

from rich.console import Console
from rich.text import Text

WIDE = 1000  # columns: more than any table has
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # how spreadsheets' formulas begin
# characters that Hydra takes as they are in a value
HYDRAS = re.compile(r"[\w./+@?|-]+", re.ASCII)
OTHER_THAN_TEXT = re.compile(r"null|true|false|nan|inf|[-+.\d_e]+", re.IGNORECASE)


def readable(text: str) -> str:
    r"""Show control characters, and bytes that are no UTF-8, as \x1b or \xe9."""
    return "".join(_shown(c) if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


def say(*words: object, is_error: bool = False) -> None:
    """Print a line at once, all in it readable."""
    text = readable(" ".join(map(str, words)))
    print(text, file=sys.stderr if is_error else sys.stdout, flush=True)


class Terminal(Console):
    """A console to which text is text: no markup, no emoji, no control characters.

    In a file or a pipe a table is as wide as it needs to be, unless COLUMNS says otherwise.
    """

    def __init__(self, *, stderr: bool = False, file: IO[str] | None = None) -> None:
        super().__init__(stderr=stderr, file=file, markup=False, emoji=False, highlight=False)
        if not (self.is_terminal or self.is_jupyter or "COLUMNS" in os.environ):
            self.width = WIDE

    def render_str(self, text: str, **style: Any) -> Text:  # noqa: ANN401 - rich's
        """Read a text as rich does, all in it readable."""
        return super().render_str(readable(text), **style)


def for_figure(text: str) -> str:
    """Keep matplotlib from reading what is between two dollars as mathematics."""
    return readable(text).replace("$", r"\$")


def for_spreadsheet(value: object) -> object:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    if value.startswith(FORMULA) and not _is_number(value):
        value = f"'{value}"
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def for_shell(*words: object) -> str:
    """A command as a shell reads it back, word by word."""
    return " ".join(_quoted(os.fspath(w) if isinstance(w, os.PathLike) else str(w)) for w in words)


def for_hydra(key: str, value: object) -> str:
    """An override key=value as Hydra reads it back."""
    text = str(value)
    if HYDRAS.fullmatch(text) and not OTHER_THAN_TEXT.fullmatch(text):
        return f"{key}={text}"
    return f"{key}={quoted(text)}"


def quoted(text: str) -> str:
    """Write text as a value that Hydra and OmegaConf read as this very text."""
    text = re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", text)
    return '"' + re.sub(r'(\\*)("|\Z)', lambda f: 2 * f[1] + (f[2] and r"\""), text) + '"'


def _shown(character: str) -> str:
    if character in "\n\t":
        return character
    code = ord(character)  # a byte that is no UTF-8 is at 0xDC00 more than itself
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\x{code:02x}"


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def _quoted(word: str) -> str:
    if readable(word) == word and "\n" not in word and "\t" not in word:
        return shlex.quote(word)
    plain = re.compile(rb"[ -&(-\[\]-~]")  # neither a quote nor a backslash
    parts = (bytes([b]) for b in os.fsencode(word))
    return f"$'{''.join(p.decode() if plain.match(p) else f'{chr(92)}x{p[0]:02x}' for p in parts)}'"
