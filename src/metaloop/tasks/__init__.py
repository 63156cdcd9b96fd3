"""Families of tasks: the sources of episodes."""

from metaloop.tasks.datasets.labelled_dataset import LabelledDataset
from metaloop.tasks.fields.image_field import ImageField
from metaloop.tasks.images.augmentation import Augmentation
from metaloop.tasks.images.cifar100 import FC100, CifarFS
from metaloop.tasks.images.cub import CUB
from metaloop.tasks.images.image_classes import ImageClasses
from metaloop.tasks.images.image_dataset import ImageDataset
from metaloop.tasks.images.image_folder import ImageFolder
from metaloop.tasks.images.image_store import ImageStore, store_arrays
from metaloop.tasks.images.mini_imagenet import MiniImageNet
from metaloop.tasks.images.omniglot import Omniglot
from metaloop.tasks.images.tiered_imagenet import TieredImageNet
from metaloop.tasks.kinds import ClassificationTask, RegressionTask
from metaloop.tasks.metric import Metric, best_mode, require_mode
from metaloop.tasks.mixture import Mixture
from metaloop.tasks.random_streams import SPLITS, RandomStreams, Split
from metaloop.tasks.shapes import Shapes
from metaloop.tasks.synthetic.harmonic import Harmonic
from metaloop.tasks.synthetic.point_navigation import PointNavigation
from metaloop.tasks.synthetic.sinusoid import Sinusoid
from metaloop.tasks.synthetic.sinusoid_line import SinusoidLine
from metaloop.tasks.tables.arrays import ArrayClasses, ArrayRegression, arrays
from metaloop.tasks.tables.row_classes import RowClasses
from metaloop.tasks.task import Task
from metaloop.tasks.text.sentence_classes import SentenceClasses

__all__ = [
    "CUB",
    "FC100",
    "SPLITS",
    "ArrayClasses",
    "ArrayRegression",
    "Augmentation",
    "CifarFS",
    "ClassificationTask",
    "Harmonic",
    "ImageClasses",
    "ImageDataset",
    "ImageField",
    "ImageFolder",
    "ImageStore",
    "LabelledDataset",
    "Metric",
    "MiniImageNet",
    "Mixture",
    "Omniglot",
    "PointNavigation",
    "RandomStreams",
    "RegressionTask",
    "RowClasses",
    "SentenceClasses",
    "Shapes",
    "Sinusoid",
    "SinusoidLine",
    "Split",
    "Task",
    "TieredImageNet",
    "arrays",
    "best_mode",
    "require_mode",
    "store_arrays",
]
