"""Where episodes come from."""

from metaloop.tasks.arrays import ArrayClasses, ArrayRegression, arrays
from metaloop.tasks.augmentation import Augmentation
from metaloop.tasks.cifar100 import FC100, CifarFS
from metaloop.tasks.cub import CUB
from metaloop.tasks.dice import SPLITS, Dice, Split
from metaloop.tasks.harmonic import Harmonic
from metaloop.tasks.image_classes import ImageClasses
from metaloop.tasks.image_dataset import ImageDataset
from metaloop.tasks.image_folder import ImageFolder
from metaloop.tasks.image_store import ImageStore, store_arrays
from metaloop.tasks.mini_imagenet import MiniImageNet
from metaloop.tasks.omniglot import Omniglot
from metaloop.tasks.point_navigation import PointNavigation
from metaloop.tasks.row_classes import RowClasses
from metaloop.tasks.sentence_classes import SentenceClasses
from metaloop.tasks.sinusoid import Sinusoid
from metaloop.tasks.sinusoid_line import SinusoidLine
from metaloop.tasks.task import ClassificationTask, RegressionTask, Task
from metaloop.tasks.tiered_imagenet import TieredImageNet

__all__ = [
    "CUB",
    "FC100",
    "SPLITS",
    "ArrayClasses",
    "ArrayRegression",
    "Augmentation",
    "CifarFS",
    "ClassificationTask",
    "Dice",
    "Harmonic",
    "ImageClasses",
    "ImageDataset",
    "ImageFolder",
    "ImageStore",
    "MiniImageNet",
    "Omniglot",
    "PointNavigation",
    "RegressionTask",
    "RowClasses",
    "SentenceClasses",
    "Sinusoid",
    "SinusoidLine",
    "Split",
    "Task",
    "TieredImageNet",
    "arrays",
    "store_arrays",
]
