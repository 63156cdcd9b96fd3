"""metaloop-train check_only=true shows the check of a run and writes nothing."""

import pytest

from tests.conftest import run_command


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_check_is_shown_as_a_table_and_nothing_is_written(elsewhere, said):
    out = said("train", "check_only=true", "device=cpu").out
    assert "1,761 elements in 6 tensors" in out
    assert "all tasks vectorised" in out
    assert "exact" in out
    assert "Checked: MLP is exact to" in out
    assert not list(elsewhere.iterdir())


def test_a_sweeps_jobs_are_checked_and_nothing_is_left(elsewhere):
    result = run_command("metaloop-train", "-m", "check_only=true", "seed=1,2", cwd=elsewhere)
    assert result.returncode == 0, result.stderr
    assert "2 jobs: 2 checked, 0 not." in result.stdout
    assert not list(elsewhere.iterdir())


def test_a_refusal_ends_with_status_1_and_the_piece_at_fault(elsewhere, said):
    (elsewhere / "mine.py").write_text(
        "import torch\n"
        "class Wide(torch.nn.Linear):\n"
        "    def __init__(self, input_size, output_size):\n"
        "        super().__init__(input_size, output_size + 2)\n"
    )
    config = elsewhere / "conf" / "model"
    config.mkdir(parents=True)
    (config / "wide.yaml").write_text("_target_: mine.Wide\n")
    result = said("train", "check_only=true", "--config-dir=conf", "model=wide", status=1)
    assert "The model Wide returns [3] for one input" in result.err
    assert "Refused." in result.out
    assert {path.name for path in elsewhere.iterdir()} <= {"mine.py", "conf", "__pycache__"}
