"""Convert sentences to rows of token ids: 0 is padding, t > 0 is the tokenizer's token t - 1."""

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from metaloop.errors import UserError
from metaloop.tasks.text.words import split_words


def hash_words(sentence: str, vocabulary_size: int) -> list[int]:
    """Convert a sentence's words and signs to ids 1..vocabulary_size-1.

    A word's id is the hash (CRC-32) of its spelling, which needs no data, so a vocabulary cannot
    leak anything between splits. The price is a rare collision.
    """
    words = (word.encode("utf-8", "surrogatepass") for word in split_words(sentence))
    return [1 + zlib.crc32(word) % (vocabulary_size - 1) for word in words]


def describe_tokens(vocabulary_size: int, tokenizer: str | None) -> str:
    """Describe how a sentence becomes token ids, for other programs."""
    if tokenizer is not None:
        return f"Each token is 1 + its id in the Hugging Face tokenizer {tokenizer}."
    return (
        "Convert the sentence to Unicode's form NFKC and casefold it. Split it into words and "
        "signs: ASCII by Python's regular expression [a-z0-9]+(?:'[a-z0-9]+)*|[^\\sa-z0-9], other "
        "scripts by the table in metaloop/tasks/text/words.py. Each is 1 + (the CRC-32 of its "
        f"UTF-8 bytes, modulo {vocabulary_size - 1})."
    )


def pad(rows: Sequence[Sequence[int]], length: int) -> Tensor:
    """Cut or pad each row to this length, int64 [rows, length]."""
    padded = torch.zeros(len(rows), length, dtype=torch.int64)
    for row, tokens in zip(padded, rows, strict=True):
        row[: len(tokens)] = torch.tensor(tokens[:length], dtype=torch.int64)
    return padded


def tokenize(
    sentences: Sequence[str], *, length: int, vocabulary_size: int, tokenizer: str | None
) -> Tensor:
    """Convert sentences to token ids, int64 [rows, length], by hashing or a HF tokenizer.

    Raises:
        UserError: if the tokenizer cannot be loaded, or has more tokens than the vocabulary.

    """
    if tokenizer is None:
        return pad([hash_words(sentence, vocabulary_size) for sentence in sentences], length)
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise UserError(
            f"task.tokenizer={tokenizer} needs the package transformers. Install it with pip "
            "install 'metaloop[hf]', or set task.tokenizer=null, which hashes words."
        ) from error
    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer)
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise UserError(
            f"task.tokenizer={tokenizer} is not a folder or name of a Hugging Face tokenizer that "
            f"can be loaded: {first_line}"
        ) from error
    if len(loaded) + 1 > vocabulary_size:
        raise UserError(
            f"The tokenizer {tokenizer} has {len(loaded)} tokens, and padding needs one more: set "
            f"task.vocabulary_size={len(loaded) + 1}."
        )
    encoded = loaded(list(sentences), truncation=True, max_length=length)["input_ids"]
    return pad([[token + 1 for token in row] for row in encoded], length)
