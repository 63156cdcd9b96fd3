"""A sweep is shown as tables of jobs and of means over seeds, and as pictures."""

from rich.console import Console
from rich.table import Table

from metaloop.folders.run_folder import RunFolder
from metaloop.run.sweeps.shown import describe_sweep, draw_sweep, draw_validations
from metaloop.run.sweeps.sweep_table import Job, Result, Sweep


def job(name, algorithm, seed, test=None, status="completed", error="") -> Job:
    varied = {"algorithm": algorithm, "seed": str(seed)}
    result = None if test is None else Result(test, 0.01, 600, "closed")
    return Job(RunFolder(name), varied, status, 0.5, result, error)


SWEEP = Sweep(
    [
        job("a", "maml", 0, 0.8),
        job("b", "maml", 1, 0.9),
        job("c", "anil", 0, None, "failed", "UserError: no data"),
    ],
    ["algorithm", "seed"],
    "accuracy",
    "max",
    "test",
    {5},
)


def cells(table: Table) -> list[list[str]]:
    return [list(row) for row in zip(*(column.cells for column in table.columns), strict=True)]


def headings(table: Table) -> list[str]:
    return [str(column.header) for column in table.columns]


def test_jobs_means_over_seeds_and_what_failed_are_shown():
    jobs, means, failed = describe_sweep(SWEEP)
    assert headings(jobs) == ["job", "algorithm", "seed", "status", "validation", "test"]
    assert cells(jobs)[0] == ["a", "maml", "0", "completed", "0.5000", "0.8000 +/- 0.0100"]
    assert cells(jobs)[2][-1] == ""
    assert jobs.title == "accuracy, higher is better: best validation first"
    assert jobs.caption.endswith("test: after inner step 5, closed 95 % interval")
    # two values 0.1 apart: 12.7062 * 0.1 / 2, Student's
    assert cells(means) == [["maml", "2", "0.8500 +/- 0.6353"]]
    assert failed == "failed: c  UserError: no data"


def test_the_kind_of_interval_has_a_column_only_where_it_differs():
    (jobs, _) = describe_sweep(SWEEP._replace(jobs=SWEEP.jobs[:2]))
    assert headings(jobs)[-1] == "test"
    first, second, _ = SWEEP.jobs
    other = second._replace(test=second.test._replace(interval="open"))
    (jobs, _) = describe_sweep(SWEEP._replace(jobs=[first, other]))
    assert headings(jobs)[-2:] == ["test", "interval"]
    assert [row[-1] for row in cells(jobs)] == ["closed", "open"]


def test_a_key_is_named_without_its_section_unless_another_has_that_name():
    keys = ["algorithm.inner_lr", "optimizer.lr", "scheduler.lr"]
    (jobs, *_) = describe_sweep(SWEEP._replace(keys=keys))
    assert headings(jobs)[1:4] == ["inner_lr", "optimizer.lr", "scheduler.lr"]


def test_on_a_terminal_of_eighty_columns_names_fold_and_values_stay_whole():
    names = ("sinusoid_maml_912d5c29", "sinusoid_fomaml_c0a886a6")
    sweep = SWEEP._replace(jobs=[job(name, "fomaml", 0, 4.5869) for name in names])
    (jobs, _) = describe_sweep(sweep)
    console = Console(width=80)
    with console.capture() as printed:
        console.print(jobs)
    assert max(map(len, printed.get().splitlines())) <= 80
    assert printed.get().count("completed") == printed.get().count("4.5869 +/- 0.0100") == 2
    assert "\u2026" not in printed.get()  # nothing is cut


def test_one_job_a_learner_has_no_means_over_seeds():
    (jobs,) = describe_sweep(SWEEP._replace(jobs=SWEEP.jobs[:1]))
    assert len(cells(jobs)) == 1


def test_the_picture_has_a_row_a_learner():
    (axes,) = draw_sweep(SWEEP, "a title").axes
    assert len(axes.get_yticks()) == 1  # the other has no test value
    assert axes.get_xlabel() == "test accuracy after inner step 5"


def test_validations_are_drawn_where_there_are_any(tmp_path):
    assert draw_validations(SWEEP, "a title") is None
    folder = RunFolder(tmp_path)
    folder.metrics.write_text("step,val/accuracy\n10,0.5\n20,0.75\n")
    sweep = SWEEP._replace(jobs=[SWEEP.jobs[0]._replace(folder=folder)])
    (axes, *_) = draw_validations(sweep, "a title").axes
    assert [0.5, 0.75] in [
        line.get_ydata().tolist() for line in axes.lines if len(line.get_ydata())
    ]
