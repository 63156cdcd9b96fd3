"""Few-shot text: tokens that depend on nothing but the sentence, episodes of the real intents."""

import functools
import http.server
import json
import threading
from itertools import islice

import pytest
import torch
import yaml

from metaloop.cli.hydra_app import CONF
from metaloop.errors import UserError
from metaloop.tasks import SPLITS, RandomStreams, SentenceClasses
from metaloop.tasks.text.tokens import hash_words, tokenize
from metaloop.training.datamodule import EpisodicDataModule
from tests.conftest import shared

FILES = ("train.jsonl", "valid.jsonl", "test.jsonl")


def make(data_dir, name="clinc150", **changes) -> SentenceClasses:
    values = yaml.safe_load((CONF / "task" / f"{name}.yaml").read_text())
    del values["defaults"], values["_target_"]
    place = None if data_dir is None else str(data_dir)
    return SentenceClasses(**{**values, "data_dir": place, "cache_dir": "", **changes})


@pytest.fixture
def written(tmp_path):
    """Three small files: two classes a split, four sentences each."""

    def write(**replaced):
        for file, number in zip(FILES, range(3), strict=True):
            rows = [
                {"sentence": f"word{number} {c} number {i}", "label": f"{c}{number}"}
                for c in "ab"
                for i in range(4)
            ]
            lines = [json.dumps(row) for row in rows]
            (tmp_path / file).write_text("\n".join(replaced.get(file[:-6], lines)) + "\n")
        return make(tmp_path, classes=6, ways=2, queries=1)

    return write


def test_a_words_id_depends_only_on_its_spelling():
    once = hash_words("Don't pay the bill, PAY me!", 8192)
    assert len(once) == 8  # don't pay the bill , pay me !
    assert once[1] == once[5]
    assert hash_words("pay", 8192) == [once[1]]
    assert all(1 <= token < 8192 for token in once)
    assert all(1 <= token < 3 for token in hash_words("any words at all", 3))


def test_sentences_are_padded_with_zeros_and_cut():
    rows = tokenize(["one two", "a b c d e"], length=4, vocabulary_size=100, tokenizer=None)
    assert rows.dtype == torch.int64
    assert (rows[0] > 0).tolist() == [True, True, False, False]
    assert rows[1].tolist() == hash_words("a b c d", 100)


@pytest.mark.parametrize(
    ("name", "sizes"), [("clinc150", (50, 50, 50)), ("banking77", (25, 25, 27))]
)
def test_the_real_intents_make_episodes_of_their_own_sentences(name, sizes):
    folder = shared("text_intents") / name
    task = make(folder, name, ways=5, shots=2, queries=3)
    task.setup()
    assert tuple(len(task.groups.splits[s]) for s in SPLITS) == sizes
    for split, file in zip(SPLITS, FILES, strict=True):
        rows = [json.loads(line) for line in (folder / file).read_text().split("\n") if line]
        label_of = {}
        for row in rows:
            label_of.setdefault(tuple(task.encode([row["sentence"]])[0].tolist()), []).append(row)
        drawn = task.draw(split, RandomStreams(0, split, torch.arange(3)))
        episode = task.gather(drawn, torch.float32)
        assert episode.support.inputs.shape == (3, 10, *task.input_shape)
        assert not episode.support.inputs.is_floating_point()
        for part in episode[:2]:
            for tokens, label, classes in zip(
                part.inputs.flatten(0, 1),
                part.targets.flatten(),
                episode.classes.repeat_interleave(part.targets.shape[1], 0),
                strict=True,
            ):
                known = label_of[tuple(tokens.tolist())]
                assert task.class_name(int(classes[label])) in {row["label"] for row in known}


def test_workers_change_no_episode(written):
    task = written()
    task.setup()
    alone, helped = (
        EpisodicDataModule(task, seed=1, meta_batch_size=3, workers=workers) for workers in (0, 2)
    )
    batches = (islice(iter(data.train_dataloader()), 4) for data in (alone, helped))
    for one, other in zip(*batches, strict=True):
        assert torch.equal(one.episodes.rows, other.episodes.rows)
        assert torch.equal(one.episodes.classes, other.episodes.classes)


def line(sentence="a b", label="x"):
    return json.dumps({"sentence": sentence, "label": label})


@pytest.mark.parametrize(
    ("replaced", "says"),
    [
        ({"valid": [line(), "{not json"]}, 'valid.jsonl, line 2 is not {"sentence"'),
        ({"valid": ['{"text": "a"}']}, "valid.jsonl, line 1 is not"),
        ({"test": [line("  ")]}, "test.jsonl, line 1 needs text"),
        ({"test": [line(label=" ")]}, "test.jsonl, line 1 needs text"),
        ({"test": [line(label="a0")]}, "'a0' is in train.jsonl and in test.jsonl"),
        ({"test": [line(), line()]}, "has 5 classes .* not task.classes=6"),
        ({"test": [line(label="a2"), line(label="b2")]}, "2 rows .* test .* 'a2' has only 1"),
    ],
)
def test_bad_files_are_refused_by_name_with_the_remedy(replaced, says, written):
    task = written(**replaced)
    with pytest.raises(UserError, match=says):
        task.setup()


def test_labels_that_read_the_same_are_one_class(written):
    names = ["caf\u00e9", "cafe\u0301 ", " caf\u00e9", "caf\u00e9"]
    task = written(test=[line(label=name) for name in names] + [line(label="b2")] * 4)
    task.setup()
    assert [task.class_name(c) for c in task.groups.splits["test"]] == ["b2", "caf\u00e9"]


def test_a_folder_without_the_files_is_refused(tmp_path):
    with pytest.raises(UserError, match="train.jsonl cannot be read .* task.data_dir must contain"):
        make(tmp_path).setup()


def test_the_official_files_are_downloaded_checked_and_kept(tmp_path):
    folder = shared("text_intents") / "banking77"
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = {"source_url": f"http://127.0.0.1:{server.server_port}", "cache_dir": str(tmp_path)}
        task = make(None, "banking77", **where)
        task.prepare()
        wrong = make(None, "banking77", **where, md5=["0" * 32, "1" * 32, "2" * 32])
        with pytest.raises(UserError, match="MD5 checksum 0000"):
            wrong.prepare()
        server.shutdown()
    task.setup()  # without the server
    assert len(task.inputs) == 4336 + 4085 + 4662


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_with_a_mask_the_network_gets_tokens_and_padding(written):
    plain = written()
    masked = make(plain.data_dir, classes=6, ways=2, queries=1, mask=True)
    for task in (plain, masked):
        task.setup()
    drawn = plain.draw("train", RandomStreams(0, "train", torch.arange(3)))
    tokens = plain.gather(drawn, torch.float32).support.inputs
    named = masked.gather(drawn, torch.float32).support.inputs
    assert list(named) == list(masked.input_shapes) == ["input_ids", "attention_mask"]
    assert torch.equal(named["attention_mask"], (tokens > 0).long())
    assert torch.equal((named["input_ids"] + 1) * named["attention_mask"], tokens)
    sentences = ["word0 a", "word0"]
    encoded = masked.encode(sentences)
    assert torch.equal(encoded["attention_mask"], (plain.encode(sentences) > 0).long())
    assert masked.scale(encoded, torch.float32)["input_ids"].dtype == torch.int64
