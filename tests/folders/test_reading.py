"""A file of a record that is damaged is named, with the reason and what to do."""

import random
import shutil
from pathlib import Path

import pytest

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.folders.sweep_folder import JobRecord, SweepFolder
from metaloop.loggers.metrics_csv import read_rows
from metaloop.run.config.read import load_config, read_overrides
from metaloop.run.evaluation.results import read_results

# the readers, each with its file and a content that is whole
READERS = {
    "config.yaml": load_config,
    "overrides.yaml": read_overrides,
    "metrics.csv": lambda folder: read_rows(folder.metrics),
    "changes.json": RunFolder.read_accepted,
    "status.json": RunFolder.state,
    "evaluations/test/results.json": lambda folder: read_results(folder, "test"),
}
WHOLE = {
    "metrics.csv": "step,val/accuracy\n1,0.5\n2,0.75\n",
    "changes.json": '{"accepted": [{"meta_step": 3, "changes": {"optimizer.lr": [1, 2]}}]}',
    "evaluations/test/results.json": '{"metrics": {"a": {"mean": [1, 2], "ci95": [0, 0]}}}',
}
FOREIGN = [b"[]", b"3", b'"x"', b"{}", b"a: 1\n", b'{"a": 1}', b"a,b\n1,2\n", b"- a\n", b"\0\1"]


@pytest.fixture
def folder(make_run) -> RunFolder:
    folder = make_run()
    (folder.evaluations / "test").mkdir(parents=True)
    for name, text in WHOLE.items():
        (folder.path / name).write_text(text)
    return folder


def damage(path: Path, number: int, whole: bytes) -> None:
    """Leave at a path what there may be in place of a file, in one of many ways."""
    dice = random.Random(number)
    if number == 0:
        path.unlink()
        path.mkdir()
    elif number <= len(FOREIGN):
        path.write_bytes(FOREIGN[number - 1])
    elif number % 2:
        path.write_bytes(whole[: dice.randrange(len(whole))])
    else:
        path.write_bytes(dice.randbytes(dice.randrange(1, 200)))


@pytest.mark.parametrize("name", READERS)
def test_anything_in_a_records_place_is_read_or_reported(name, folder):
    path = folder.path / name
    whole, refusals = path.read_bytes(), []
    for number in range(40):
        damage(path, number, whole)
        try:
            READERS[name](folder)
        except UserError as error:
            refusals.append(str(error))
        if path.is_dir():
            path.rmdir()
        path.write_bytes(whole)
        READERS[name](folder)
    assert len(refusals) >= 15  # the folder, and what is no text at all
    assert all(f"{path} cannot be read: " in said for said in refusals)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("config.yaml", b"", "it is empty"),
        ("config.yaml", b"a: [", "while parsing a flow node"),
        ("config.yaml", b"a: 1", "it is no run's config, for it says nothing of task"),
        ("overrides.yaml", b"a: 1", "it holds a dict, not a list"),
        ("status.json", b'{"state": "runn', "Invalid JSON: EOF while parsing a string"),
        ("status.json", b"\xff\xfe", "it is not text from byte 0 on"),
        ("changes.json", b'{"accepted": [3]}', "accepted.0: Input should be an object"),
        ("metrics.csv", b"step,a\n1,x\n", "line 2 is not a row of numbers by step"),
        ("metrics.csv", b"step,a\n1\n", "line 2 and the header differ in length"),
        ("evaluations/test/results.json", b"{}", "metrics: Field required"),
    ],
)
def test_the_reason_names_the_fault(name, content, reason, folder):
    (folder.path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} cannot be read: {reason}"):
        READERS[name](folder)


def test_only_a_missing_config_is_refused(folder):
    for name in WHOLE:
        (folder.path / name).unlink()
    folder.overrides.unlink()
    shutil.rmtree(folder.evaluations)
    assert read_overrides(folder) == []
    assert read_rows(folder.metrics) == []
    assert folder.read_accepted() == []
    assert read_results(folder, "test").metrics == {}
    folder.config.unlink()
    with pytest.raises(UserError, match=r"its config\.yaml is missing"):
        load_config(folder)


def test_what_a_sweeps_command_wrote_is_named_too(tmp_path):
    sweep = SweepFolder(tmp_path)
    sweep.begin(["seed=1,2"])
    sweep.record(0, JobRecord(["seed=1"], "a", ""))
    assert sweep.records() == [JobRecord(["seed=1"], "a", "")]
    (tmp_path / ".sweep" / "jobs" / "000001.json").write_text("[]")
    with pytest.raises(UserError, match=r"000001\.json cannot be read"):
        sweep.records()
    (tmp_path / ".sweep" / "command.json").unlink()
    with pytest.raises(UserError, match=r"command\.json cannot be read: it is missing"):
        _ = sweep.leader
