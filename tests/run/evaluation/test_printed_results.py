"""The table that ends a command: results at some inner steps, next to published ones."""

import torch
from rich.table import Table

from metaloop.run.evaluation.printed_results import print_results, tabulate_steps
from metaloop.run.evaluation.results import add_ours, summarize_results
from tests.run.evaluation.test_results import VALUES


def test_what_may_be_wrong_with_a_published_value_is_printed_once(tmp_path, capsys):
    value = {"metric": "accuracy", "mean": 0.9, "source": "a", "note": "of other characters"}
    published = [{**value, "inner_step": step} for step in (0, 1)]
    results = summarize_results(VALUES)
    results |= {"protocol": {"inner_steps": 1, "split": "test"}, "overrides": []}
    print_results({**results, "published": add_ours(published, results, {})}, tmp_path)
    assert capsys.readouterr().out.count("Note on the published value: of other characters.") == 1


def test_a_diverged_value_is_called_so(tmp_path, capsys):
    values = {"query_loss": torch.tensor([[1.0, torch.nan], [1.0, torch.inf]], dtype=torch.float64)}
    results = summarize_results(values)
    results |= {"protocol": {"inner_steps": 1, "split": "test"}, "published": [], "overrides": []}
    print_results(results, tmp_path)
    assert "diverged" in capsys.readouterr().out.split("as trained")[1]


def test_some_inner_steps_are_shown_and_those_of_training_and_the_last():
    values = {"mean": [float(k) for k in range(13)], "ci95": [0.5] * 13}
    table: Table = tabulate_steps({"accuracy": values, "query_loss": values}, range(13), trained=4)
    steps, accuracy, loss = ([*column.cells] for column in table.columns)
    assert steps == ["0", "1", "3", "4 (as trained)", "5", "10", "12"]
    assert (accuracy[1], loss[1]) == ("100.00% +/- 50.00%", "1.0000 +/- 0.5000")
