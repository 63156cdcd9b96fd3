"""Few-shot text classification: N-way K-shot episodes of sentences (CLINC150, BANKING77)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack

import torch
from torch import Tensor

from metaloop.arguments import Count
from metaloop.episode import Inputs, map_inputs
from metaloop.errors import UserError
from metaloop.folders.user_path import user_path
from metaloop.tasks.random_streams import SPLITS, Split
from metaloop.tasks.readers.arrays import Arrays
from metaloop.tasks.readers.given import ExampleFiles, Given, name_tables
from metaloop.tasks.readers.given_sentences import read_sentences
from metaloop.tasks.readers.table import to_label
from metaloop.tasks.shapes import SizeOptions
from metaloop.tasks.sources.download import download
from metaloop.tasks.tables.row_classes import RowClasses
from metaloop.tasks.text.tokens import describe_tokens, tokenize

FILES: dict[Split, str] = {
    "train": "train.jsonl",
    "validation": "valid.jsonl",
    "test": "test.jsonl",
}
MASKED = "attention_mask is 1 where a token is above 0, else 0; input_ids are the tokens minus 1."
Labelled = tuple[list[str], list[str]]  # sentences, and their labels


class SentenceClasses(RowClasses):
    """Episodes of sentences from three files of {"sentence": .., "label": ..}, one per line.

    The classes of the three files differ: they define the split, as in Dopierre et al. 2021
    (arXiv:2105.12995). An input consists of a sentence's token ids; see `words` and `tokens`.
    Labels are stripped and in composed form (NFC).

    Args:
        ways, shots, queries, shape_block, uneven_shots: see RowClasses.
        classes: number of classes in the three files together.
        max_tokens: longer sentences are cut, shorter ones padded.
        vocabulary_size: number of token ids, including padding.
        tokenizer: None hashes words; else a Hugging Face tokenizer, a folder or a name.
        mask: pass the network two tensors by name, as transformers' encoders expect: input_ids,
            where the tokenizer's first token is 0, and attention_mask, 0 for padding.
        data_dir: a folder with train.jsonl, valid.jsonl and test.jsonl; None downloads them.
        cache_dir: folder for downloads.
        source_url: address of the three files.
        md5: checksums of the three files, in this order.

    Examples:
        >>> import json
        >>> from pathlib import Path
        >>> from metaloop import SentenceClasses
        >>> for split, labels in {"train": "ab", "valid": "cd", "test": "ef"}.items():
        ...     with Path(f"{split}.jsonl").open("w") as file:
        ...         for label in 2 * labels:
        ...             print(json.dumps({"sentence": f"say {label}", "label": label}), file=file)
        >>> task = SentenceClasses(
        ...     ways=2, shots=1, queries=1, classes=6, max_tokens=4, vocabulary_size=100,
        ...     tokenizer=None, data_dir=".", cache_dir="cache", source_url="", md5=["", "", ""],
        ... )
        >>> task.setup()
        >>> task.encode(["say a", "say it now"]).count_nonzero(dim=1)  # tokens that are no padding
        tensor([2, 3])

    """

    def __init__(
        self,
        *,
        queries: Count,
        classes: Count,
        max_tokens: Count,
        vocabulary_size: Count,
        tokenizer: str | None,
        data_dir: str | None,
        cache_dir: str,
        source_url: str,
        md5: Sequence[str],
        mask: bool = False,
        **sizes: Unpack[SizeOptions],
    ) -> None:
        super().__init__(queries=queries, **sizes)
        if vocabulary_size < 2:
            raise UserError("task.vocabulary_size includes the padding token: set 2 or more.")
        self.input_shape = (max_tokens,)
        self.mask = mask
        if mask:
            names = ("input_ids", "attention_mask")
            self.input_shapes = dict.fromkeys(names, self.input_shape)
        self.classes, self.vocabulary_size, self.tokenizer = classes, vocabulary_size, tokenizer
        self.data_dir = None if data_dir is None else user_path(data_dir)
        self.cache_dir = user_path(cache_dir)
        self.source_url, self.md5 = source_url, dict(zip(FILES.values(), md5, strict=True))

    def require_data(self) -> None:
        for split in self.splits if self.data_dir is not None else ():
            _require(self._folder() / FILES[split])

    def prepare(self) -> None:
        self.require_data()
        self._folder()

    def setup(self) -> None:
        folder = self._folder()
        read = {split: self._read(folder, split) for split in SPLITS}
        per_split = {split: sorted(set(labels)) for split, (_, labels) in read.items()}
        self._check(folder, per_split)
        names = [name for split in SPLITS for name in per_split[split]]
        number = {name: i for i, name in enumerate(names)}
        self.open_rows(
            self._add_mask(self.tokenize([s for split in SPLITS for s in read[split][0]])),
            torch.tensor([number[label] for split in SPLITS for label in read[split][1]]),
            names,
            {split: [number[name] for name in per_split[split]] for split in SPLITS},
            str(folder),
        )

    def read_examples(
        self, place: Path, *, skip_unusable: bool, like: Given | None = None
    ) -> Given:
        return read_sentences(place)

    def suggest_files(self) -> ExampleFiles:
        return name_tables(["sentence"], ["label"])

    def encode(self, x: Arrays) -> Inputs:
        """Convert sentences, one string per row, to token ids [rows, max_tokens]."""
        sentences = [str(row) for row in x if isinstance(row, str)]
        if isinstance(x, Mapping) or len(sentences) < len(x):
            return super().encode(x)
        return self._add_mask(self.tokenize(sentences))

    def tokenize(self, sentences: Sequence[str]) -> Tensor:
        """Convert sentences to token ids, int64 [rows, max_tokens]."""
        return tokenize(
            sentences,
            length=self.input_shape[0],
            vocabulary_size=self.vocabulary_size,
            tokenizer=self.tokenizer,
        )

    def scale(self, inputs: Inputs, dtype: torch.dtype) -> Inputs:
        return map_inputs(torch.Tensor.long, inputs)  # the result of `encode` needs no scaling

    def _add_mask(self, tokens: Tensor) -> Inputs:
        """Return the tokens, or with mask=True the tokenizer's ids and their attention mask."""
        if not self.mask:
            return tokens
        return {"input_ids": (tokens - 1).clamp(min=0), "attention_mask": (tokens > 0).long()}

    def describe_inputs(self) -> dict[str, object]:
        length, size = self.input_shape[0], self.vocabulary_size
        return {
            "kind": "tokens",
            "length": length,
            "vocabulary_size": size,
            "tokenizer": self.tokenizer,
            "padding": 0,
            "steps": [
                describe_tokens(size, self.tokenizer),
                f"Cut a longer sentence to {length} tokens, pad a shorter one with 0 at its end.",
                *([MASKED] if self.mask else []),
            ],
        }

    def describe(self) -> dict[str, int | str | bool]:
        return {**super().describe(), "tokenizer": self.tokenizer or "hashed words"}

    def _folder(self) -> Path:
        if self.data_dir is not None:
            return self.data_dir
        folder = self.cache_dir / f"sentences-{self.md5[FILES['train']][:16]}"
        advice = f"Or put {', '.join(FILES.values())} into a folder and set task.data_dir to it."
        for name in FILES.values():
            url = f"{self.source_url}/{name}"
            download(url, folder / name, md5=self.md5[name], advice=advice)
        return folder

    def _read(self, folder: Path, split: Split) -> Labelled:
        """Read a split's sentences; none if its file is neither there nor needed."""
        path = folder / FILES[split]
        return _read(path) if split in self.splits or path.exists() else ([], [])

    def _check(self, folder: Path, per_split: dict[Split, list[str]]) -> None:
        seen: dict[str, Split] = {}
        for split, names in per_split.items():
            for name in names:
                if name in seen:
                    raise UserError(
                        f"{folder}: the class '{name}' is in {FILES[seen[name]]} and in "
                        f"{FILES[split]}. A class must be in one split: move its sentences into "
                        "one of the files."
                    )
                seen[name] = split
        if self.splits == SPLITS and len(seen) != self.classes:  # pretraining's head
            raise UserError(
                f"{folder} has {len(seen)} classes in its three files, not task.classes="
                f"{self.classes}: some are missing, or it is another data set. If that is "
                f"intended, set task.classes={len(seen)}."
            )


def _require(path: Path) -> None:
    if not path.is_file():
        raise _unreadable(path, "does not exist")


def _unreadable(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path} {reason}. task.data_dir must contain {', '.join(FILES.values())}, lines of JSON "
        "objects with sentence and label."
    )


def _read(path: Path) -> Labelled:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, f"cannot be read ({error})") from error
    sentences, labels = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            sentence, label = row["sentence"], row["label"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise UserError(
                f'{path}, line {number} is not {{"sentence": .., "label": ..}}. Correct or '
                "remove it."
            ) from error
        if not all(isinstance(text, str) and text.strip() for text in (sentence, label)):
            raise UserError(
                f"{path}, line {number} needs text as sentence and label. Correct or remove it."
            )
        sentences.append(sentence)
        labels.append(to_label(label))
    return sentences, labels
