"""Where episodes come from."""

from metaloop.tasks.augmentation import Augmentation
from metaloop.tasks.cifar100 import FC100, CifarFS
from metaloop.tasks.cub import CUB
from metaloop.tasks.dice import SPLITS, Dice, Split
from metaloop.tasks.image_classes import ImageClasses
from metaloop.tasks.image_dataset import ImageDataset
from metaloop.tasks.image_folder import ImageFolder
from metaloop.tasks.image_store import ImageStore, store_arrays
from metaloop.tasks.mini_imagenet import MiniImageNet
from metaloop.tasks.omniglot import Omniglot
from metaloop.tasks.sinusoid import Sinusoid
from metaloop.tasks.task import ClassificationTask, RegressionTask, Task
from metaloop.tasks.tiered_imagenet import TieredImageNet

__all__ = [
    "CUB",
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
    "MiniImageNet",
    "Omniglot",
    "RegressionTask",
    "Sinusoid",
    "Split",
    "Task",
    "TieredImageNet",
    "store_arrays",
]
