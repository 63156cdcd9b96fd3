"""Callbacks and loggers that do not fit a run, refused in a sentence before it begins."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback

from metaloop.errors import UserError, nearest
from metaloop.run.config.build import Pieces
from metaloop.training.logged_values import summary_names

# whose callbacks log no values of their own
KNOWN = ("metaloop", "pytorch_lightning")
OF_LIGHTNING = ("epoch", "step")  # which a ModelCheckpoint may monitor too


def require_known_monitors(callbacks: Mapping[str, Callback], pieces: Pieces) -> None:
    """Refuse a callback that monitors what no validation reports.

    Not where a callback of the user's own is there: it may log that.

    Raises:
        UserError: the callback's key, and what there is to monitor.

    """
    if any(type(c).__module__.partition(".")[0] not in KNOWN for c in callbacks.values()):
        return
    names = summary_names(pieces.task.metrics, is_detailed=pieces.training.report)
    known = [f"val/{name}" for name in names]
    for key, callback in callbacks.items():
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor not in (*known, *OF_LIGHTNING):
            raise UserError(
                f"callbacks.{key}.monitor={monitor} is no value that a validation reports. "
                f"{nearest(monitor, known)}Choose one of: {', '.join(known)}."
            )


@contextmanager
def explain_misfits(*beside: type[Exception]) -> Iterator[None]:
    """Say in a sentence what Lightning does not take; `beside` tells it too.

    Raises:
        UserError: two progress bars, a callback that needs a logger, or automatic optimization ..

    """
    refusals: tuple[type[Exception], ...] = (MisconfigurationException, *beside)
    try:
        yield
    except refusals as error:
        raise UserError(
            f"A callback or logger does not fit the run: {' '.join(str(error).split())} Change it, "
            "or switch one off: callbacks.progress=null, for one."
        ) from error
