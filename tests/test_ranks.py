"""Two processes meta-train every algorithm to the weights of one."""

import csv

import pytest
import torch

from tests.conftest import ROOT, run_command
from tests.episodes import RECIPES
from tests.ranks import VARYING


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What one process and what two made of every algorithm, and the folders of their metrics."""
    agent = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    made = []
    for processes, start in ((1, []), (2, agent)):
        folder = tmp_path_factory.mktemp(f"processes{processes}")
        ranks = ("-m", "tests.ranks", str(processes), str(folder))
        done = run_command("python", *start, *ranks, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
        made.append((torch.load(folder / "weights.pt", weights_only=True), folder))
    return made


@pytest.mark.parametrize("name", [*RECIPES, VARYING])
def test_two_processes_give_the_weights_of_one(trained, name):
    (one, _), (two, _) = trained
    assert set(one[name]) == set(two[name])
    assert {p.dtype for p in one[name].values()} == {torch.float64}
    for parameter, value in one[name].items():
        torch.testing.assert_close(two[name][parameter], value, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", [*RECIPES, VARYING])
def test_two_processes_log_what_one_logs(trained, name):
    rows = []
    for _, folder in trained:
        with (folder / f"{name}.csv").open() as file:
            rows.append(list(csv.DictReader(file)))
    assert [set(row) for row in rows[0]] == [set(row) for row in rows[1]]
    for one, two in zip(*rows, strict=True):
        for column in one:
            if column.endswith(("per_second", "memory_mb")) or not one[column]:
                continue
            assert float(two[column]) == pytest.approx(float(one[column]), rel=1e-6, abs=1e-9)
