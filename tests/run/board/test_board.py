"""The board of this repository: every figure of it is that of a record."""

import json
import re
import shutil

import pytest
import yaml

from metaloop.cli.configs import CONF, choices, find_choice
from metaloop.errors import UserError
from metaloop.run.board.board import Board

PLACE = CONF.parent / "benchmarks" / "board"
PUBLISHED = {
    name: values
    for name in choices("experiment")
    if (values := yaml.safe_load(find_choice("experiment", name).read_text()).get("published"))
}
BOARD = Board(PLACE, PUBLISHED)


def test_the_board_is_that_of_its_records_and_they_are_of_the_presets(said):
    said("reproduce", "--check")


def test_a_preset_says_that_it_has_run_whole_where_a_record_shows_it():
    for preset, values in PUBLISHED.items():
        has_run = any(r.steps == r.steps_asked for r in BOARD.records(preset).values())
        assert all(bool(value.get("ran_whole")) == has_run for value in values), preset


def test_a_figure_without_its_record_is_refused(tmp_path):
    shutil.copytree(PLACE, tmp_path / "board")
    copy = Board(tmp_path / "board", PUBLISHED)
    copy.check()
    path = copy.place / "board.json"
    content = json.loads(path.read_text())
    content["rows"][0]["ours"] = {"mean": 0.5, "ci95_over_seeds": 0.1, "seeds": {}}
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="records"):
        copy.check()


def test_the_command_of_a_row_computes_as_its_records_did():
    for row in BOARD.rows():
        records = BOARD.records(row["preset"]).values()
        was_compiled = any(record.config["device"]["compile"] is True for record in records)
        assert ("device.compile=true" in row["command"]) == was_compiled


def test_a_record_names_no_folder_of_the_machine_it_was_made_on():
    for path in PLACE.rglob("*"):
        assert not path.is_file() or not re.search(r"/(home|root|tmp|work)\b", path.read_text()), (
            path
        )
        assert path.suffix != ".ckpt"
