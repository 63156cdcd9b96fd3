"""Fields of images: each image is a task, its pixels the examples (Tancik et al. 2021)."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metaloop.arguments import Count
from metaloop.episode import Episode, the_tensor
from metaloop.errors import UserError
from metaloop.tasks.disjoint import Deal
from metaloop.tasks.fields.pixels import to_examples
from metaloop.tasks.images.image_classes import DrawnImages, ImageClasses
from metaloop.tasks.kinds import RegressionTask
from metaloop.tasks.metric import Metric, MetricFunction, psnr
from metaloop.tasks.random_streams import RandomStreams, Split
from metaloop.tasks.readers.given import ExampleFiles, Given
from metaloop.tasks.readers.image_files import ImageFile, ImageFiles
from metaloop.tasks.shapes import Shapes

# the sizes that the source must have: the smallest allowed, since a field draws single images
SMALLEST: Mapping[str, object] = {"ways": 2, "shots": 1, "queries": 1}
COORDINATES = ("down", "across")
CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}


class DrawnField(NamedTuple):
    """A meta-batch as indices, as it travels from the loader's workers to the device.

    Shapes:
        image   [T, 1, 1, ..]  the source's draw of one image per task, see DrawnImages
        pixels  [T, S]         indices of the support pixels, row by row; S = 0 if all are support
    """

    image: DrawnImages
    pixels: Tensor


class ImageField(RegressionTask):
    """Each task is an image: from a pixel's coordinates, predict its values in 0..1.

    Tancik et al. 2021 (arXiv:2012.02189): meta-learning finds initial weights from which a few
    gradient steps fit a network to a new image. The source finds, decodes, splits, turns and
    augments the images; its classes serve only to split them. All pixels are the query set.

    Args:
        of: the source, an image task with the smallest episode sizes, ways=2, shots=1, queries=1:
            a field draws single images instead.
        shots: S, number of random pixels in the support set; None takes all.

    Shapes (legend in episode.py):
        inputs   [T, S, 2]         (down, across) of pixel centres in -1..1
        targets  [T, S, channels]  values 0..1

    Examples:
        >>> import numpy as np
        >>> import torch
        >>> from metaloop import ClassificationTask, ImageField, RandomStreams
        >>> images = [(np.full((8, 8, 3), 20 * i, np.uint8), i % 10) for i in range(12)]
        >>> source = ClassificationTask.of(images, ways=2, shots=1, queries=1)
        >>> task = ImageField(of=source, shots=16)
        >>> task.setup()
        >>> drawn = task.draw("train", RandomStreams(0, "train", torch.arange(4)))
        >>> field = task.gather(drawn, torch.float32)
        >>> field.support.inputs.shape, field.query.targets.shape  # 16 pixels, and all 64 of them
        (torch.Size([4, 16, 2]), torch.Size([4, 64, 3]))

    """

    input_shape = (2,)
    monitor = "psnr"

    def __init__(self, *, of: ImageClasses, shots: Count | None = None) -> None:
        _require_smallest(of)
        if len(of.input_shape) != 3:
            raise UserError(
                f"{type(of).__name__} has no images (channels, height, width), but inputs of shape "
                f"{of.input_shape}. Set task.of to a task of images."
            )
        self.of = copy.copy(of)
        self.of.shapes, self.of.queries = Shapes(shots=1), 0
        self.found = {"of": dict(of.found)}
        self.output_size, height, width = of.input_shape
        self.target_names = CHANNELS.get(self.output_size, ())
        self.pixels, self.shots = height * width, shots
        if shots is not None and shots > self.pixels:
            raise UserError(
                f"task.shots={shots} pixels are drawn, but an image of {height} x {width} has "
                f"{self.pixels} pixels. Lower it, or set task.shots=null for all of them."
            )

    @property
    def splits(self) -> Sequence[Split]:
        """The source's splits in use."""
        return self.of.splits

    @splits.setter
    def splits(self, splits: Sequence[Split]) -> None:
        self.of.splits = splits

    def require_data(self) -> None:
        self.of.require_data()

    def prepare(self) -> None:
        self.of.prepare()

    def setup(self) -> None:
        self.of.setup()

    def draw(self, split: Split, streams: RandomStreams) -> DrawnField:  # type: ignore[override]
        image = self.of.draw(split, streams)
        return DrawnField(image, streams.choose(count=self.shots or 0, population=self.pixels))

    def deal(self, seed: int, split: Split, indices: Tensor) -> Deal:
        return self.of.deal(seed, split, indices)

    def origins(self, drawn: DrawnField) -> dict[str, Tensor]:  # type: ignore[override]
        return {"classes": drawn.image.classes, "image": drawn.image.images[:, 0]}

    def gather(self, drawn: DrawnField, dtype: torch.dtype) -> Episode:  # type: ignore[override]
        images = the_tensor(self.of.gather(drawn.image, dtype).support.inputs)
        query = support = to_examples(images[:, 0])
        if self.shots is not None:
            rows = drawn.pixels[..., None]
            support = query.map(lambda values: values.take_along_dim(rows, 1))
        return Episode(support, query, drawn.pixels.new_empty(len(images), 0))

    @property
    def metrics(self) -> Mapping[str, MetricFunction]:
        return {"psnr": Metric(psnr, higher_is_better=True, is_mean=False)}

    def image_files(self) -> ImageFiles:
        return self.of.image_files()

    def require_examples(self, place: Path, key: str) -> None:
        if not place.is_file():
            raise UserError(
                f"{key}={place} is no file, but the run was trained on fields, each of one image. "
                "Name an image file."
            )

    def read_examples(
        self, place: Path, *, skip_unusable: bool, like: Given | None = None
    ) -> Given:
        """Read the pixels of one image file, as examples in the order of `pixel_grid`."""
        image = self.image_files().read(ImageFile(None, str(place)))
        scaled = the_tensor(self.of.scale(torch.tensor(image)[None], torch.float32))
        inputs, values = to_examples(scaled).tensors
        rows, columns = np.indices(image.shape[1:]).reshape(2, -1).tolist()
        return Given(
            place,
            inputs[0].numpy(),
            [f"{row},{column}" for row, column in zip(rows, columns, strict=True)],
            values[0].numpy(),
            targets=self.target_names,
            features=COORDINATES,
            columns={"row": rows, "column": columns},
        )

    def suggest_files(self) -> ExampleFiles:
        return ExampleFiles(["support=IMAGE.png"], "IMAGE.png is the image to fit")

    def introduce(self) -> list[str]:
        return self.of.introduce()

    def describe(self) -> dict[str, int | str | bool]:
        sizes = {"shots": self.shots or self.pixels, "queries": self.pixels}
        return {"images": type(self.of).__name__, **self.of.describe(), **sizes}


def _require_smallest(of: ImageClasses) -> None:
    """Refuse other episode sizes of the source, which would have no effect."""
    described = of.describe()
    sizes = {name: described[name] for name in SMALLEST}
    if sizes != SMALLEST:
        given, wanted = (
            ", ".join(f"task.of.{name}={size}" for name, size in each.items())
            for each in (sizes, SMALLEST)
        )
        raise UserError(
            f"{given} would have no effect: each task is one image of the source. Leave {wanted}."
        )
