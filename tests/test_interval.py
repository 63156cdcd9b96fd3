"""What is logged are means over the meta-steps since the last logged one."""

import torch

from metaloop.interval import Interval, Sums


def added(*losses: float) -> Interval:
    interval = Interval()
    for loss in losses:
        interval.add({"query_loss": torch.tensor([loss - 1, loss + 1])})  # two tasks
    return interval


def test_the_mean_over_meta_steps_is_taken_once():
    interval = added(1.0, 2.0, 6.0)
    assert interval.take_means() == {"query_loss": 3.0}
    interval.add({"query_loss": torch.tensor([5.0])})
    assert interval.take_means() == {"query_loss": 5.0}


def test_every_process_goes_on_with_its_own_sums_and_other_processes_with_the_mean():
    kept = Sums(steps=1, values={"query_loss": torch.tensor([4.0, 8.0])})
    found = []
    for rank, processes in ((0, 2), (1, 2), (0, 1)):
        interval = Interval()
        interval.load(kept, rank, processes)
        interval.add({"query_loss": torch.tensor([2.0])})
        found.append(float(interval.take_means()["query_loss"]))
    assert found == [3.0, 5.0, 4.0]


def test_a_checkpoint_from_before_there_was_an_interval_begins_one():
    interval = added(1.0)
    interval.load(None, 0, 1)
    interval.add({"query_loss": torch.tensor([3.0])})
    assert interval.take_means() == {"query_loss": 3.0}
