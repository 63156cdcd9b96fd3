"""Where episodes come from."""

from metaloop.tasks.arrays import ArrayClasses, ArrayRegression, arrays
from metaloop.tasks.dice import SPLITS, Dice, Split
from metaloop.tasks.image_classes import ImageClasses
from metaloop.tasks.omniglot import Omniglot
from metaloop.tasks.row_classes import RowClasses
from metaloop.tasks.sentence_classes import SentenceClasses
from metaloop.tasks.sinusoid import Sinusoid
from metaloop.tasks.task import ClassificationTask, RegressionTask, Task

__all__ = [
    "SPLITS",
    "ArrayClasses",
    "ArrayRegression",
    "ClassificationTask",
    "Dice",
    "ImageClasses",
    "Omniglot",
    "RegressionTask",
    "RowClasses",
    "SentenceClasses",
    "Sinusoid",
    "Split",
    "Task",
    "arrays",
]
