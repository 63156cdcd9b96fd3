"""What a stop signal raises. Imports no torch: it must be there before anything slow."""

import signal
from types import FrameType

# Ctrl-C, a terminal that is closed, and what schedulers send before they end a job: Slurm SIGTERM
# and what `sbatch --signal` names, submitit SIGUSR2. All mean the same: save, and stop.
STOP_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Interrupted(Exception):  # noqa: N818 - no error: what the user asked for
    """The run stopped on a signal.

    `is_agreed` where all its processes stop at one step, and not this one alone.
    """

    def __init__(self, signal_number: int, where: str, *, is_agreed: bool = False) -> None:
        super().__init__(f"{signal.Signals(signal_number).name} {where}")
        self.signal_number = signal_number
        self.is_agreed = is_agreed


def stop_signals() -> tuple[signal.Signals, ...]:
    """The signals that stop this process: not SIGHUP where nohup has it ignored."""
    is_kept = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(n for n in STOP_SIGNALS if not (is_kept and n == signal.SIGHUP))


def stop_at_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler
    """Handle a signal where there is nothing to save."""
    if number == signal.SIGHUP:  # the terminal's own is followed by its shell's
        signal.signal(number, signal.SIG_IGN)
    raise Interrupted(number, "outside of training; what was saved before is kept")


def stop_on_signals() -> None:
    """From now on a stop signal raises `Interrupted`."""
    for number in stop_signals():
        signal.signal(number, stop_at_once)


def leave_signals_to_parent() -> None:
    """Ignore stop signals, in a process that its parent ends when it is done with it."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
