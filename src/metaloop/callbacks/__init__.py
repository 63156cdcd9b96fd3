"""When to log, draw, save and stop."""

from metaloop.callbacks.best_checkpoint import BestCheckpoint, EnsembleCheckpoints
from metaloop.callbacks.checkpoint_io import DurableCheckpointIO
from metaloop.callbacks.metrics_csv import MetricsCsv
from metaloop.callbacks.pictures import Pictures
from metaloop.callbacks.progress import Progress
from metaloop.callbacks.resume_checkpoint import ResumeCheckpoint

__all__ = [
    "BestCheckpoint",
    "DurableCheckpointIO",
    "EnsembleCheckpoints",
    "MetricsCsv",
    "Pictures",
    "Progress",
    "ResumeCheckpoint",
]
