"""One job of a sweep; test_multirun.py has whole sweeps of them."""

from metaloop.cli.sweeps.job import varied_overrides


def test_what_was_varied_and_what_was_fixed_are_told_apart():
    arguments = ["task.shots=5", "algorithm=maml,fomaml", "seed=range(3)", "+x=1"]
    job = ["task.shots=5", "algorithm=maml", "seed=2", "+x=1", "optimizer.lr=0.1"]
    assert varied_overrides(arguments, job) == ["algorithm=maml", "seed=2", "optimizer.lr=0.1"]
