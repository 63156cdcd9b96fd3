"""Where episodes come from."""

from metaloop.tasks.arrays import ArrayClasses, ArrayRegression, arrays
from metaloop.tasks.dice import SPLITS, Dice, Split
from metaloop.tasks.harmonic import Harmonic
from metaloop.tasks.image_classes import ImageClasses
from metaloop.tasks.omniglot import Omniglot
from metaloop.tasks.point_navigation import PointNavigation
from metaloop.tasks.row_classes import RowClasses
from metaloop.tasks.sentence_classes import SentenceClasses
from metaloop.tasks.sinusoid import Sinusoid
from metaloop.tasks.sinusoid_line import SinusoidLine
from metaloop.tasks.task import ClassificationTask, RegressionTask, Task

__all__ = [
    "SPLITS",
    "ArrayClasses",
    "ArrayRegression",
    "ClassificationTask",
    "Dice",
    "Harmonic",
    "ImageClasses",
    "Omniglot",
    "PointNavigation",
    "RegressionTask",
    "RowClasses",
    "SentenceClasses",
    "Sinusoid",
    "SinusoidLine",
    "Split",
    "Task",
    "arrays",
]
