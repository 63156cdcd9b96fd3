"""When to save, draw, show progress and stop."""

from metaloop.callbacks.best_checkpoint import BestCheckpoint, EnsembleCheckpoints
from metaloop.callbacks.checkpoint_io import DurableCheckpointIO
from metaloop.callbacks.pictures import Pictures
from metaloop.callbacks.progress import Progress
from metaloop.callbacks.resume_checkpoint import ResumeCheckpoint

__all__ = [
    "BestCheckpoint",
    "DurableCheckpointIO",
    "EnsembleCheckpoints",
    "Pictures",
    "Progress",
    "ResumeCheckpoint",
]
