"""What is logged are means over the meta-steps since the last logged one."""

import torch

from metaloop.training.log_window import LogWindow, Sums


def added(*losses: float) -> LogWindow:
    window = LogWindow()
    for loss in losses:
        window.add({"query_loss": torch.tensor([loss - 1, loss + 1])})  # two tasks
    return window


def test_the_mean_over_meta_steps_is_taken_once():
    window = added(1.0, 2.0, 6.0)
    assert window.means() == {"query_loss": 3.0}
    window.close()
    window.add({"query_loss": torch.tensor([5.0])})
    assert window.means() == {"query_loss": 5.0}


def test_every_process_goes_on_with_its_own_sums_and_other_processes_with_the_mean():
    kept = Sums(steps=1, values={"query_loss": torch.tensor([4.0, 8.0])})
    found = []
    for rank, processes in ((0, 2), (1, 2), (0, 1)):
        window = LogWindow()
        window.load(kept, rank, processes)
        window.add({"query_loss": torch.tensor([2.0])})
        found.append(float(window.means()["query_loss"]))
    assert found == [3.0, 5.0, 4.0]


def test_a_checkpoint_from_before_there_was_an_interval_begins_one():
    window = added(1.0)
    window.load(None, 0, 1)
    window.add({"query_loss": torch.tensor([3.0])})
    assert window.means() == {"query_loss": 3.0}
