"""Split sentences of any script into words and signs."""

import functools
import re
import unicodedata
from itertools import pairwise

JOINER = "\u200d"  # zero-width, between the parts of one emoji
# different spellings of one sign: typographic apostrophes, quotation marks and hyphens
ONE_SPELLING = {**dict.fromkeys("\u2018\u2019\u201b\u02bc", "'"), "\u2010": "-"}
ONE_SPELLING |= {**dict.fromkeys("\u201c\u201d\u201e\u201f", '"'), "\u200b": " "}
# optional characters: Arabic vowel signs and tatweel, Hebrew points, and invisible ones: soft
# hyphens, direction marks, non-joiners, variation selectors
OPTIONAL = [(0x610, 0x61A), (0x640, 0x640), (0x64B, 0x652), (0x670, 0x670), (0x5B0, 0x5BD)]
OPTIONAL += [(0x5BF, 0x5BF), (0x5C1, 0x5C2), (0x5C7, 0x5C7), (0xAD, 0xAD), (0x200C, 0x200C)]
OPTIONAL += [(0x200E, 0x200F), (0x202A, 0x202E), (0x2060, 0x2064), (0x2066, 0x206F)]
OPTIONAL += [(0xFEFF, 0xFEFF), (0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF)]
SPELLING = str.maketrans(
    ONE_SPELLING | {chr(c): "" for first, last in OPTIONAL for c in range(first, last + 1)}
)
# scripts without spaces between words, by the start of their characters' names
NO_SPACES = ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
# matches the kinds of a sentence's characters, one letter each: see `_kind`
TOKEN = re.compile("w[wm]*(?:'w[wm]*)*|rr|e[tm]*(?:j.[tm]*)*|[csr'tm]m*")


def split_words(sentence: str) -> list[str]:
    """Split a sentence into lower-cased words and signs.

    Different spellings with one reading become the same: first by Unicode's compatible form (NFKC),
    which, unlike NFC, also replaces full-width letters and ligatures by plain ones; then as below.

    | in a sentence | tokens |
    |---|---|
    | letters and digits, with apostrophes inside (don't) | one word; case is folded |
    | curly quotation marks and apostrophes | converted to straight ones |
    | combining marks, such as Hindi's vowels | part of their base character |
    | Arabic vowel signs and tatweel, Hebrew points | removed |
    | Han, Hiragana, Katakana, Thai, Lao, Khmer, Myanmar | one token per letter, with its marks |
    | an emoji with skin tones and joined parts, a flag | one token, without variation selectors |
    | any other sign | one token |
    | invisible marks: soft hyphen, direction | removed |
    """
    text = unicodedata.normalize("NFKC", sentence).casefold()
    text = unicodedata.normalize("NFKC", text).translate(SPELLING)
    if JOINER in text:  # outside emoji it only shapes letters
        text = "".join(c for last, c in pairwise(f" {text}") if c != JOINER or _kind(last) in "et")
    kinds = "".join(map(_kind, text))
    return [text[token.start() : token.end()] for token in TOKEN.finditer(kinds)]


@functools.cache
def _kind(character: str) -> str:
    """Classify a character for tokens, by one letter.

    w: part of a word; c: a token by itself; m: a mark on it; e: emoji and other pictures; t: colour
    of an emoji; j: joins two; r: half a flag; ': inside words; s: any other sign; space.
    """
    if character.isspace() or character in (JOINER, "'"):
        return {JOINER: "j", "'": "'"}.get(character, " ")
    if character.isalnum():
        is_apart = character.isalpha() and unicodedata.name(character, "").startswith(NO_SPACES)
        return "c" if is_apart else "w"
    category = unicodedata.category(character)
    if "\U0001f1e6" <= character <= "\U0001f1ff":
        return "r"
    if "\U0001f3fb" <= character <= "\U0001f3ff" or "\U000e0020" <= character <= "\U000e007f":
        return "t"
    if category.startswith("M"):
        return "m"
    return "e" if category == "So" else "s"
