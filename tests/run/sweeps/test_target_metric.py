"""What a sweep compares its jobs by: a metric of the task, named in the config."""

import pytest

from metaloop.errors import UserError
from metaloop.folders.atomic_write import write_json
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.build import build
from metaloop.run.sweeps.target_metric import choose_target_metric, read_target_metric
from tests.conftest import composed

LOGGER = {"csv": {"_target_": "metaloop.MetricsCsv"}}


def pieces(*overrides):
    return build(composed("task=omniglot", *overrides))


@pytest.mark.parametrize(
    ("named", "objective", "mode"),
    [
        (None, "val/accuracy", "max"),
        ("val/query_loss", "val/query_loss", "min"),
        ("test/accuracy", "test/accuracy", "max"),
    ],
)
def test_unless_named_it_is_what_decides_the_best_checkpoint(named, objective, mode):
    chosen = choose_target_metric(named, pieces(), LOGGER)
    assert (str(chosen), chosen.mode) == (objective, mode)


@pytest.mark.parametrize(
    ("named", "overrides", "logger", "says"),
    [
        ("val/auc", (), LOGGER, "objective=val/auc is no metric of this task.*val/accuracy"),
        ("accuracy", (), LOGGER, "Choose one of: val/query_loss, val/accuracy, test/query_loss"),
        (None, ("training.max_steps=5",), LOGGER, "never validated. Lower training.validate_every"),
        (None, (), {}, "logger=none writes none"),
        ("test/accuracy", ("evaluation.split=validation",), LOGGER, "Take objective=val/accuracy"),
    ],
)
def test_what_no_run_measures_is_refused(named, overrides, logger, says):
    with pytest.raises(UserError, match=says):
        choose_target_metric(named, pieces(*overrides), logger)


def test_it_is_the_best_validation_or_the_last_inner_step_of_the_test(tmp_path):
    folder = RunFolder(tmp_path)
    folder.metrics.write_text("step,val/accuracy\n5,0.5\n10,0.8\n15,nan\n20,0.7\n")
    assert read_target_metric(folder, choose_target_metric(None, pieces(), LOGGER)) == 0.8
    (folder.evaluations / "test").mkdir(parents=True)
    metrics = {"accuracy": {"mean": [0.2, 0.75], "ci95": [0.1, 0.1]}}
    write_json(folder.evaluations / "test" / "results.json", {"metrics": metrics})
    assert (
        read_target_metric(folder, choose_target_metric("test/accuracy", pieces(), LOGGER)) == 0.75
    )
    folder.metrics.write_text("step,val/accuracy\n5,nan\n")
    with pytest.raises(UserError, match="no finite val/accuracy: did it diverge"):
        read_target_metric(folder, choose_target_metric(None, pieces(), LOGGER))
