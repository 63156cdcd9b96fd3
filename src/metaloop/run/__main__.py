"""Execute a run folder: python -m metaloop.run FOLDER."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from metaloop.process.fast_import import fast_imports
from metaloop.process.parent_death import stop_with_parent
from metaloop.process.signals import Interrupted, stop_on_signals
from metaloop.process.slurm_requeue import requeue_job
from metaloop.process.terminal import survive_lost_output
from metaloop.user_text import say

if TYPE_CHECKING:
    from metaloop.run.config.build import Pieces


def main(arguments: Sequence[str] | None = None, pieces: "Pieces | None" = None) -> int:
    """Execute the folder named by the arguments; signals can interrupt the imports too."""
    survive_lost_output()
    stop_on_signals()
    if "TORCHELASTIC_RUN_ID" in os.environ:  # a killed torchrun does not end its ranks
        stop_with_parent()
    try:
        with fast_imports():  # takes seconds, interruptible
            from metaloop.run.worker import work

        status = work(arguments, pieces)
    except Interrupted as stop:
        say(f"\nStopped by {stop}.")
        status = 128 + stop.signal_number
    if status > 128:
        requeue_job(status - 128)
    return status


if __name__ == "__main__":
    sys.exit(main())
