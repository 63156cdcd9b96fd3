"""Reports of episodes become the values that are logged, by hand."""

import pytest
import torch

from metaloop.training.logged_values import (
    summarize,
    summarize_path,
    summarize_step_sizes,
    summary_names,
)

# two episodes, before and after one inner step
REPORT = {
    "query_loss": torch.tensor([[4.0, 1.0], [2.0, 2.0]]),
    "support_loss": torch.tensor([[3.0, 1.0], [3.0, 1.0]]),
}


def test_a_summary_has_each_value_before_and_after_and_the_gain():
    values = summarize(REPORT)
    assert (values["query_loss_before"], values["query_loss"]) == (3.0, 1.5)
    assert values["adaptation_gain"] == 1.5
    assert values["query_loss_ci95"] == pytest.approx(12.706 * 0.5, rel=1e-4)  # Student's
    assert values["support_loss_ci95"] == 0.0


def test_the_names_of_a_summary_are_known_without_one():
    report = {**REPORT, "f1": REPORT["query_loss"], "support_f1": REPORT["query_loss"]}
    assert set(summary_names(["f1"], is_detailed=False)) == set(summarize(report))
    assert "gradient_cosine_ci95" in summary_names([], is_detailed=True)


def test_a_path_has_a_mean_for_each_inner_step():
    assert summarize_path({"query_loss": REPORT["query_loss"]}) == {
        "query_loss/0": 3.0,
        "query_loss/1": 1.5,
    }


def test_step_sizes_are_listed_by_step_or_summarised_by_tensor():
    w = torch.zeros(2, 2)
    per_step = {"w": w, "step_size.w": torch.tensor([0.1, 0.2, 0.3])}
    assert summarize_step_sizes(per_step) == pytest.approx({"w/0": 0.1, "w/1": 0.2, "w/2": 0.3})
    per_element = {"w": w, "step_size.w": torch.tensor([[0.0, 0.2], [0.2, 0.4]])}
    # deviations -0.2, 0, 0, 0.2
    assert summarize_step_sizes(per_element) == pytest.approx(
        {"w/mean": 0.2, "w/std": (0.08 / 4) ** 0.5}
    )
