"""An evaluation of several sources is summarised for each of them."""

import pytest
import torch

from metaloop.tasks import Mixture, RandomStreams, Sinusoid
from metaloop.training.by_source import split_by_source, summarize_each

SIZES = {"shots": 2, "queries": 2}


def test_each_source_gets_the_episodes_that_it_drew():
    task = Mixture(of={"a": Sinusoid(**SIZES), "b": Sinusoid(**SIZES)})
    index = torch.arange(20)
    sources = split_by_source(task, 0, "test", {"query_loss": index.double()[:, None]})
    assert sum(len(report["query_loss"]) for report in sources.values()) == 20
    for number, name in enumerate("ab"):
        for i in sources[name]["query_loss"].long():
            drawn = task.draw("test", RandomStreams(0, "test", i))
            assert drawn.source.shape[1] == number


def test_a_single_source_is_not_split():
    assert split_by_source(Sinusoid(**SIZES), 0, "test", {"query_loss": torch.zeros(4, 2)}) == {}


def test_values_are_named_by_their_source():
    reports = {
        name: {"query_loss": torch.tensor([[2.0, end], [2.0, end]])}
        for name, end in (("a", 1.0), ("b", 0.5))
    }
    values = summarize_each(reports)
    assert values["a/query_loss"] == pytest.approx(1.0)
    assert values["b/adaptation_gain"] == pytest.approx(1.5)
