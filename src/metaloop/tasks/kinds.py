"""Two kinds of tasks, regression and classification, with the loss of each."""

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
    """Tasks with the mean squared error over examples and outputs as loss.

    Targets are floats of the predictions' shape, [S, *Y].

    Examples:
        >>> import torch
        >>> from metaloop import Episode, Examples, RandomStreams, RegressionTask
        >>> class Lines(RegressionTask):
        ...     input_shape, output_size = (1,), 1
        ...     def draw(self, split, streams):
        ...         slopes, x = streams.uniform(1, 1, low=-1, high=1), streams.uniform(6, 1)
        ...         y = slopes * x
        ...         classes = torch.empty(streams.episodes, 0, dtype=torch.int64)
        ...         support, query = Examples(x[:, :2], y[:, :2]), Examples(x[:, 2:], y[:, 2:])
        ...         return Episode(support, query, classes)
        >>> episodes = Lines().draw("train", RandomStreams(0, "train", torch.arange(3)))
        >>> episodes.support.inputs.shape, episodes.query.inputs.shape
        (torch.Size([3, 2, 1]), torch.Size([3, 4, 1]))

    """

    is_regression = True

    def loss(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(predictions, targets)


class ClassificationTask(Task):
    """Tasks with cross-entropy as loss, and accuracy as metric.

    Predictions are logits [S, N], and targets classes 0..N-1, [S].

    Examples:
        >>> import torch
        >>> from torch.utils.data import TensorDataset
        >>> from metaloop import ClassificationTask
        >>> dataset = TensorDataset(torch.rand(60, 4), torch.arange(60) % 10)
        >>> task = ClassificationTask.of(dataset, ways=2, shots=1)
        >>> task.input_shape, task.output_size, task.monitor
        ((4,), 2, 'accuracy')

    """

    monitor = "accuracy"
    is_regression = False

    @staticmethod
    def of(dataset: Dataset[Any] | None = None, **options: object) -> "ClassificationTask":
        """Make episodes from any labelled map-style Dataset, or from three, one per split.

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
