"""The bar shows what adaptation changes."""

from metaloop.callbacks.progress import before_after


def test_values_are_paired_before_and_after_adaptation():
    shown = before_after(
        {
            "train/query_loss_before": 4.218,
            "train/query_loss": 0.61,
            "train/lr": 0.001,
            "val/accuracy_before": 0.2,
            "val/accuracy": 0.957,
            "val/support_loss_before": 1.0,
            "val/support_loss": 0.5,
        }
    )
    assert shown == {"loss": "4.22 -> 0.61", "val/accuracy": "0.2 -> 0.957"}


def test_the_pair_is_of_the_same_meta_step_where_the_mean_is_of_many():
    values = {"train/query_loss_before": 2.9, "train/query_loss_after": 2.7}
    assert before_after({**values, "train/query_loss": 3.51}) == {"loss": "2.9 -> 2.7"}
