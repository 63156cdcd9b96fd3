"""A sweep is read from its folders, whatever state they are in."""

import csv
import os
import socket
import subprocess

import pytest

from metaloop.errors import UserError
from metaloop.run.sweeps.shown import draw_sweep
from metaloop.run.sweeps.sweep_table import find_varied, over_seeds, read_sweep, write_csv
from tests.run.sweeps.jobs import job


def test_only_what_differs_between_jobs_has_varied():
    jobs = [{"task": "omniglot", "seed": "0", "lr": "1"}, {"task": "omniglot", "seed": "1"}]
    assert find_varied(jobs) == [{"seed": "0", "lr": "1"}, {"seed": "1", "lr": ""}]


def test_means_over_seeds_have_students_interval(tmp_path):
    for seed, value in enumerate((0.90, 0.92, 0.97)):
        job(tmp_path, f"maml{seed}", ["algorithm=maml", f"seed={seed}"], test=value)
    job(tmp_path, "anil", ["algorithm=anil", "seed=0"], test=0.5)
    (maml, three), (anil, one) = over_seeds(read_sweep(tmp_path))  # the best mean first
    assert maml == {"algorithm": "maml"}
    assert three.mean == pytest.approx(0.93)
    # deviation 0.0360555, t(0.975; 2 degrees of freedom) = 4.302653
    assert three.half_width == pytest.approx(4.302653 * 0.0360555 / 3**0.5, rel=1e-5)
    assert (anil, one.mean, one.half_width) == ({"algorithm": "anil"}, 0.5, None)


def bars(figure):
    """Draw each learner's value with the ends of its interval, by the learner's name."""
    (axis,) = figure.axes
    names = [text.get_text() for text in axis.get_yticklabels()]
    found = {}
    for container in axis.containers:
        points, _, (intervals,) = container
        for x, row, ends in zip(*points.get_data(), intervals.get_segments(), strict=True):
            found[names[int(row)]] = (container.get_label(), x, *ends[:, 0].tolist())
    return axis, found


def test_the_picture_has_an_interval_of_seeds_or_of_the_only_runs_episodes(tmp_path):
    for seed, value in enumerate((0.90, 0.92)):
        job(tmp_path, f"maml{seed}", ["algorithm=maml", f"seed={seed}"], test=value)
    job(tmp_path, "anil", ["algorithm=anil", "seed=0"], test=0.5)
    figure = draw_sweep(read_sweep(tmp_path), "mine")
    axis, found = bars(figure)
    width = 12.7062 * 0.0141421 / 2**0.5
    (seeds, *maml), (episodes, *anil) = found["algorithm=maml"], found["algorithm=anil"]
    assert seeds == "95 % interval over seeds"
    assert maml == pytest.approx([0.91, 0.91 - width, 0.91 + width], rel=1e-4)
    assert episodes == "one run: closed 95 % interval over episodes"
    assert anil == pytest.approx([0.5, 0.48, 0.52])
    assert axis.get_xlabel() == "test accuracy after inner step 1"
    assert figure.get_suptitle() == "sweep mine"


def test_every_state_is_told_and_a_run_whose_process_is_gone_is_killed(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    here = {"host": socket.gethostname()}
    job(tmp_path, "a", ["seed=0"], "running", pid=os.getpid(), **here)
    job(tmp_path, "b", ["seed=1"], "running", pid=gone.pid, **here)
    job(tmp_path, "c", ["seed=2"], "running", pid=gone.pid, host="elsewhere")
    job(tmp_path, "d", ["seed=3"], "failed", error="UserError: no data")
    job(tmp_path, "e", ["seed=4"], validations=(0.5, 0.8, 0.7), test=0.75)
    job(tmp_path, "f", ["seed=5"], "diverged", reason="at meta-step 3")
    jobs = read_sweep(tmp_path).jobs
    states = [job.status for job in jobs]  # e first: it alone has a value
    assert states == ["completed", "running", "killed", "running", "failed", "diverged"]
    assert jobs[4].error == "UserError: no data"
    assert jobs[5].error == "at meta-step 3"
    assert jobs[0].validation == 0.8  # the best, not the last
    write_csv(read_sweep(tmp_path), tmp_path / "sweep.csv")
    with (tmp_path / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["test/accuracy"] == "0.75"
    assert rows[1]["test/accuracy"] == ""


@pytest.mark.parametrize(("metric", "order"), [("accuracy", "bac"), ("mae", "cab"), ("f1", "abc")])
def test_the_job_with_the_best_validation_comes_first(metric, order, tmp_path):
    for name, value in {"a": 0.2, "b": 0.9, "c": 0.1}.items():
        rows = f"step,val/{metric}\n1,{value}\n"
        job(tmp_path, name, [f"seed={ord(name)}"]).metrics.write_text(rows)
    jobs = read_sweep(tmp_path, metric).jobs
    assert "".join(job.folder.path.name for job in jobs) == order  # of f1 nothing is known


def test_a_job_without_validations_is_ranked_by_its_test_value(tmp_path):
    job(tmp_path, "a", ["seed=0"])
    job(tmp_path, "b", ["seed=1"], validations=(0.5, 0.6), test=0.9)
    job(tmp_path, "c", ["seed=2"], test=0.7)
    jobs = read_sweep(tmp_path).jobs
    assert [job.folder.path.name for job in jobs] == ["c", "b", "a"]  # a has no value


@pytest.mark.parametrize(("metric", "best"), [("accuracy", 0.9), ("mae", 0.2), ("f1", None)])
def test_the_best_is_what_the_metric_itself_says(metric, best, tmp_path):
    folder = job(tmp_path, "a", ["seed=0"])
    rows = "".join(f"{step},{value}\n" for step, value in enumerate((0.5, 0.2, 0.9, "nan")))
    folder.metrics.write_text(f"step,val/{metric}\n{rows}")
    assert read_sweep(tmp_path, metric).jobs[0].validation == best


def test_what_is_no_sweep_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match="Name a sweep's folder"):
        read_sweep(tmp_path / "nothing")
    with pytest.raises(UserError, match="contains no runs"):
        read_sweep(tmp_path)
    job(tmp_path, "a", ["seed=0"], validations=(0.5,))
    with pytest.raises(
        UserError, match=r"No run here has a value of metric=auc\. Choose one of: accuracy"
    ):
        read_sweep(tmp_path, metric="auc")


def test_a_run_that_cannot_be_read_has_a_row_and_hides_no_other(tmp_path, said):
    for seed in (0, 1, 2):
        job(tmp_path, f"a{seed}", ["algorithm=maml", f"seed={seed}"], test=0.9)
    broken = tmp_path / "a1" / "metrics.csv"
    broken.mkdir()
    (tmp_path / "a2" / "status.json").write_text("{")
    jobs = read_sweep(tmp_path).jobs
    assert [job.status for job in jobs] == ["completed", "unreadable", "unreadable"]
    out = said("sweep", str(tmp_path)).out
    assert "0.9000 +/- 0.0200" in out
    assert f"unreadable: {tmp_path / 'a1'}  {broken} cannot be read: is a directory" in out
    with (tmp_path / "sweep.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
