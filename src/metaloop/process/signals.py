"""Handle stop signals. Imports no torch: handlers must be set before anything slow."""

import signal
from types import FrameType

# Ctrl-C, a closed terminal, and signals that schedulers send before they end a job: Slurm SIGTERM
# and the signal in `sbatch --signal`, submitit SIGUSR2. All mean the same: save, and stop.
STOP_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Interrupted(Exception):  # noqa: N818 - not an error: the user asked for it
    """The run stopped on a signal.

    `is_agreed` is true if all processes stop at the same step, rather than only this one.
    """

    def __init__(self, signal_number: int, where: str, *, is_agreed: bool = False) -> None:
        super().__init__(f"{signal.Signals(signal_number).name} {where}")
        self.signal_number = signal_number
        self.is_agreed = is_agreed


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that stop this process: not SIGHUP if nohup ignores it."""
    is_kept = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(n for n in STOP_SIGNALS if not (is_kept and n == signal.SIGHUP))


def stop_at_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler
    """Handle a signal when there is nothing to save."""
    if number == signal.SIGHUP:  # the terminal's signal is followed by its shell's
        signal.signal(number, signal.SIG_IGN)
    raise Interrupted(number, "outside training; everything saved earlier is kept")


def stop_on_signals() -> None:
    """Make stop signals raise `Interrupted` from now on."""
    for number in stop_signals():
        signal.signal(number, stop_at_once)


def leave_signals_to_parent() -> None:
    """Ignore stop signals, in a process that its parent will end."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
