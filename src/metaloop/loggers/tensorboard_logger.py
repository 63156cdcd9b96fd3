"""Log to TensorBoard; a resumed run continues its log exactly."""

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
import yaml
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from metaloop.errors import UserError

FOLDER = "tensorboard"


class ResumableTensorBoardLogger(TensorBoardLogger):
    """Lightning's TensorBoardLogger, in the folder tensorboard/ of the run.

    A resumed run continues in the same folder: TensorBoard hides what was logged after the
    checkpoint from which it resumes. Each row is flushed before the next meta-step, so that a
    killed run loses none. The config is logged as a text.

    Args:
        save_dir: the event files go to save_dir/tensorboard.

    Raises:
        UserError: if the package tensorboard cannot be imported.

    Examples:
        >>> from metaloop import ResumableTensorBoardLogger
        >>> ResumableTensorBoardLogger(save_dir="run").log_dir
        'run/tensorboard/'

    """

    def __init__(self, *, save_dir: str) -> None:
        try:
            import torch.utils.tensorboard  # noqa: F401 - slow, and not needed elsewhere
        except ImportError as error:
            raise UserError(
                f"logger=tensorboard needs the package tensorboard ({error}). Install it: "
                "pip install 'metaloop[tensorboard]'. Or log to metrics.csv alone: logger=csv."
            ) from error
        super().__init__(save_dir, name=FOLDER, version="", default_hp_metric=False)
        self._step = 0  # the meta-step logged last

    @rank_zero_only
    def rewind(self, step: int) -> None:
        """Hide what was logged after this meta-step: the resumed run logs it again."""
        self._kwargs["purge_step"] = step + 1
        self._step = step

    @rank_zero_only
    def log_hyperparams(  # type: ignore[override]
        self, params: argparse.Namespace | dict[str, object]
    ) -> None:
        """Log the config as a text."""
        values = vars(params) if isinstance(params, argparse.Namespace) else params
        text = yaml.safe_dump(values, sort_keys=False)
        indented = "".join(f"    {line}\n" for line in text.splitlines())  # code, in Markdown
        self.experiment.add_text("config", indented, self._step)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics(metrics, step)
        self._step = self._step if step is None else step
        self.experiment.flush()

    @rank_zero_only
    def log_image(self, key: str, images: Sequence[Image.Image], step: int | None = None) -> None:
        """Log pictures, like Lightning's logger for W&B; step None is the meta-step logged last."""
        meta_step = self._step if step is None else step
        for image in images:
            self.experiment.add_image(key, np.asarray(image), meta_step, dataformats="HWC")
        self.experiment.flush()

    def save(self) -> None:
        """Write no hparams.yaml: the run folder has a config.yaml."""
