"""What a sweep compares its jobs by: a metric of the task, named in the config."""

import pytest

from metaloop.errors import UserError
from metaloop.folders.atomic_write import write_json
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.build import build_task
from metaloop.run.config.run_config import RunConfig
from metaloop.run.sweeps.target_metric import choose_target_metric, read_target_metric
from tests.conftest import composed


def chosen(named, *overrides):
    config = RunConfig.of(composed("task=omniglot", "logger=csv", *overrides))
    return choose_target_metric(named, config, build_task(config))


@pytest.mark.parametrize(
    ("named", "objective", "mode"),
    [
        (None, "val/accuracy", "max"),
        ("val/query_loss", "val/query_loss", "min"),
        ("test/accuracy", "test/accuracy", "max"),
    ],
)
def test_unless_named_it_is_what_decides_the_best_checkpoint(named, objective, mode):
    target = chosen(named)
    assert (str(target), target.mode) == (objective, mode)


@pytest.mark.parametrize(
    ("named", "overrides", "says"),
    [
        ("val/auc", (), "objective=val/auc is not a metric of this task.*val/accuracy"),
        ("accuracy", (), "Choose one of: val/query_loss, val/accuracy, test/query_loss"),
        (None, ("training.max_steps=5",), "never validated. Lower training.validate_every"),
        (None, ("logger=none",), "logger=none writes none"),
        ("test/accuracy", ("evaluation.split=validation",), "Take objective=val/accuracy"),
    ],
)
def test_what_no_run_measures_is_refused(named, overrides, says):
    with pytest.raises(UserError, match=says):
        chosen(named, *overrides)


def test_it_is_the_best_validation_or_the_last_inner_step_of_the_test(tmp_path):
    folder = RunFolder(tmp_path)
    folder.metrics.write_text("step,val/accuracy\n5,0.5\n10,0.8\n15,nan\n20,0.7\n")
    assert read_target_metric(folder, chosen(None)) == 0.8
    (folder.evaluations / "test").mkdir(parents=True)
    metrics = {"accuracy": {"mean": [0.2, 0.75], "ci95": [0.1, 0.1]}}
    write_json(folder.evaluations / "test" / "results.json", {"metrics": metrics})
    assert read_target_metric(folder, chosen("test/accuracy")) == 0.75
    folder.metrics.write_text("step,val/accuracy\n5,nan\n")
    with pytest.raises(UserError, match="no finite val/accuracy: did it diverge"):
        read_target_metric(folder, chosen(None))
