"""The two usual kinds of task: regression and classification, with their losses."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from metaloop.tasks.metric import PROPER_SCORES, Metric, MetricFunction, accuracy
from metaloop.tasks.task import Task

LABELLED = "metaloop.tasks.datasets.labelled_dataset"


class RegressionTask(Task):
    """Tasks with the mean squared error over examples and outputs as loss."""

    is_regression = True

    def loss(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(predictions, targets)


class ClassificationTask(Task):
    """Tasks with cross-entropy as loss, and accuracy as metric."""

    monitor = "accuracy"
    is_regression = False

    @staticmethod
    def of(dataset: Dataset[Any] | None = None, **options: object) -> "ClassificationTask":
        """Make episodes from any labelled map-style Dataset, or from three, one per split.

        >>> ClassificationTask.of(dataset, ways=5, shots=1)  # doctest: +SKIP
        >>> ClassificationTask.of(train=a, validation=b, test=c, ways=5, shots=1)  # doctest: +SKIP

        The options are those of `LabelledDataset`, the class that it creates.
        """
        family = import_module(LABELLED)  # it imports this file
        made: ClassificationTask = family.LabelledDataset(dataset=dataset, **options)
        return made

    def loss(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(predictions, targets)

    @property
    def metrics(self) -> Mapping[str, MetricFunction]:
        return {"accuracy": Metric(accuracy, higher_is_better=True)}

    @property
    def evaluation_metrics(self) -> Mapping[str, MetricFunction]:
        """Scores of probabilities, where the loss says that outputs are their logits."""
        return PROPER_SCORES if type(self).loss is ClassificationTask.loss else {}
