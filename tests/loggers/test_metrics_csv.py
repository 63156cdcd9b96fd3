"""metrics.csv is one table, continued exactly."""

from metaloop.loggers import MetricsCsv
from metaloop.loggers.metrics_csv import read_rows


def log(path, *rows):
    logger = MetricsCsv(path)
    for step, values in rows:
        logger.log_metrics(values, step)
    return logger


TRAIN = [(step, {"train/loss": 1 / step}) for step in (1, 2, 3, 4)]
VALIDATION = (2, {"val/loss": 0.7})


def test_rows_of_different_columns_share_one_header(tmp_path):
    log(tmp_path / "m.csv", TRAIN[0], TRAIN[1], VALIDATION, TRAIN[2])
    assert (tmp_path / "m.csv").read_text().split() == [
        "step,train/loss,val/loss",
        "1,1.0,",
        "2,0.5,",
        "2,,0.7",
        "3,0.3333333333333333,",
    ]


def test_reopening_keeps_all_rows_and_rewinding_drops_later_ones(tmp_path):
    path = tmp_path / "m.csv"
    log(path, *TRAIN[:2], VALIDATION, *TRAIN[2:])
    whole = path.read_text()
    again = MetricsCsv(path)
    again.rewind(2)
    assert [row["step"] for row in read_rows(path)] == ["1", "2", "2"]
    for step, values in TRAIN[2:]:
        again.log_metrics(values, step)
    assert path.read_text() == whole


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path):
    path = tmp_path / "m.csv"
    log(path, *TRAIN)
    path.write_text(path.read_text() + "5,0.2"[:3])
    assert [row["step"] for row in read_rows(path)] == ["1", "2", "3", "4"]
    again = MetricsCsv(path)
    again.rewind(4)
    again.log_metrics({"train/loss": 0.2}, 5)
    assert path.read_text().endswith("4,0.25\n5,0.2\n")


def test_an_extended_run_takes_back_the_row_that_its_end_had_logged(tmp_path):
    path = tmp_path / "m.csv"
    logger = log(path, TRAIN[0], TRAIN[1], VALIDATION)
    logger.rewind(2, is_extended=True)
    rows = read_rows(path)
    assert [(row["step"], row["train/loss"], row["val/loss"]) for row in rows] == [
        ("1", "1.0", ""),
        ("2", "", "0.7"),
    ]
