"""Callbacks that save, draw, show progress and stop."""

from metaloop.callbacks.best_checkpoint import BestCheckpoint, EnsembleCheckpoints
from metaloop.callbacks.checkpoint_io import DurableCheckpointIO
from metaloop.callbacks.pictures import Pictures
from metaloop.callbacks.progress import Progress
from metaloop.callbacks.resume_checkpoint import ResumeCheckpoint
from metaloop.callbacks.stop_when_diverged import StopWhenDiverged

__all__ = [
    "BestCheckpoint",
    "DurableCheckpointIO",
    "EnsembleCheckpoints",
    "Pictures",
    "Progress",
    "ResumeCheckpoint",
    "StopWhenDiverged",
]
