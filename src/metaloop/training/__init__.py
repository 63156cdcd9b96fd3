"""Meta-training with Lightning: the data module, the outer loop, and their logged values."""

from metaloop.training.datamodule import EpisodicDataModule, MetaBatch
from metaloop.training.estimate import Estimate, estimate
from metaloop.training.meta_learner import MetaLearner

__all__ = ["EpisodicDataModule", "Estimate", "MetaBatch", "MetaLearner", "estimate"]
