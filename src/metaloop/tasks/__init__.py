"""Where episodes come from."""

from metaloop.tasks.augmentation import Augmentation
from metaloop.tasks.cifar100 import FC100, CifarFS
from metaloop.tasks.dice import SPLITS, Dice, Split
from metaloop.tasks.image_classes import ImageClasses
from metaloop.tasks.image_dataset import ImageDataset
from metaloop.tasks.image_folder import ImageFolder
from metaloop.tasks.image_store import ImageStore, store_arrays
from metaloop.tasks.omniglot import Omniglot
from metaloop.tasks.sinusoid import Sinusoid
from metaloop.tasks.task import ClassificationTask, RegressionTask, Task

__all__ = [
    "FC100",
    "SPLITS",
    "Augmentation",
    "CifarFS",
    "ClassificationTask",
    "Dice",
    "ImageClasses",
    "ImageDataset",
    "ImageFolder",
    "ImageStore",
    "Omniglot",
    "RegressionTask",
    "Sinusoid",
    "Split",
    "Task",
    "store_arrays",
]
