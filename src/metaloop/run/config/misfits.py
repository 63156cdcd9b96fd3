"""Refuse callbacks and loggers that do not fit a run, before it begins."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback

from metaloop.errors import UserError, nearest
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.build import Pieces, build, build_callbacks, build_loggers
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.trainer import make_trainer
from metaloop.training.logged_values import summary_names

# packages whose callbacks log no further values
KNOWN = ("metaloop", "pytorch_lightning")
OF_LIGHTNING = ("epoch", "step")  # further values that a ModelCheckpoint may monitor


def build_and_try(config: RunConfig) -> Pieces:
    """Build the pieces, require their data, and try the callbacks and loggers of a training.

    Only their constructors know their ranges, and only Lightning knows which fit together.

    Raises:
        UserError: if anything in the config does not fit; it names the key.

    """
    config.device.use_threads()
    pieces = build(config)
    pieces.task.require_data()
    if config.command != "train":
        return pieces
    unmade = RunFolder("unmade")
    callbacks = build_callbacks(config, unmade, pieces.task)
    require_known_monitors(callbacks, pieces)
    build_loggers(config, unmade)
    # only this process: nothing is started
    alone = replace(config.device, accelerator="cpu", devices=1, nodes=1, precision="32-true")
    with explain_misfits(RuntimeError):  # two callbacks of one name in the checkpoint
        make_trainer(alone, unmade.path, [*callbacks.values()], training=config.training)
    return pieces


def require_known_monitors(callbacks: Mapping[str, Callback], pieces: Pieces) -> None:
    """Refuse a callback that monitors a value which no validation reports.

    Nothing is refused if the user has a callback of their own, which may log that value.

    Raises:
        UserError: if there is such a callback; it names the key and the values to choose from.

    """
    if any(type(c).__module__.partition(".")[0] not in KNOWN for c in callbacks.values()):
        return
    names = summary_names(pieces.task.metrics, is_detailed=pieces.config.training.report)
    known = [f"val/{name}" for name in names]
    for key, callback in callbacks.items():
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor not in (*known, *OF_LIGHTNING):
            raise UserError(
                f"callbacks.{key}.monitor={monitor} is no value that a validation reports. "
                f"{nearest(monitor, known)}Choose one of: {', '.join(known)}."
            )


@contextmanager
def explain_misfits(*further: type[Exception]) -> Iterator[None]:
    """Turn Lightning's refusals, and these further errors, into a sentence.

    Raises:
        UserError: if there are two progress bars, a callback needs a logger ..

    """
    refusals: tuple[type[Exception], ...] = (MisconfigurationException, *further)
    try:
        yield
    except refusals as error:
        raise UserError(
            f"A callback or logger does not fit the run: {' '.join(str(error).split())} Change it, "
            "or switch one off: callbacks.progress=null, for one."
        ) from error
