"""episodes.csv is read as an evaluation wrote it."""

import pytest
import torch

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.comparison.episodes import finite_values, read_episodes
from metaloop.run.comparison.evaluated_run import EvaluatedRun
from metaloop.run.evaluation.results import write_results

LOSS = torch.tensor([[4.0, 1 / 3], [2.0, 2.5]], dtype=torch.float64)


@pytest.fixture
def evaluated(tmp_path) -> EvaluatedRun:
    return EvaluatedRun(RunFolder(tmp_path), RunFolder(tmp_path), {}, {})


def test_values_and_what_tells_episodes_apart_come_back_as_they_were_written(evaluated):
    values = {"query_loss": LOSS, "accuracy@inductive": LOSS / 8}
    write_results(evaluated.folder.path, {}, values, {"shots": [1, 5]})
    found = read_episodes(evaluated)
    assert found.identity == {"episode": ["0", "1"], "shots": ["1", "5"]}
    assert found.metrics == ["query_loss", "accuracy@inductive"]
    assert found.last_step("query_loss") == 1
    assert finite_values(evaluated, found, "query_loss", 1).tolist() == LOSS[:, 1].tolist()
    with pytest.raises(UserError, match="after inner steps 0 to 1, and --inner-step is 3"):
        finite_values(evaluated, found, "query_loss", 3)


def test_a_learner_that_diverged_in_an_episode_has_no_mean(evaluated):
    diverged = torch.tensor([[1.0, torch.nan], [2.0, 1.0]], dtype=torch.float64)
    write_results(evaluated.folder.path, {}, {"query_loss": diverged})
    found = read_episodes(evaluated)
    with pytest.raises(UserError, match="query_loss is not finite in 1 of 2 test episodes"):
        finite_values(evaluated, found, "query_loss", 1)
    assert finite_values(evaluated, found, "query_loss", 0).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "has no results of an evaluation"),
        ("", "at least two test episodes"),
        ("episode,accuracy_step_0\n0,0.5\n", "at least two test episodes"),
        ("episode,accuracy_step_0\n0,0.5\n1,half\n", "could not convert string to float"),
        ("episode,accuracy_step_0\n0,0.5\n1\n", "line 3 "),
    ],
)
def test_what_cannot_be_read_is_named(text, says, evaluated):
    path = evaluated.folder.path / "episodes.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=says) as refused:
        read_episodes(evaluated)
    assert str(path) in str(refused.value)
