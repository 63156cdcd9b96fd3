"""When to log, draw, save and stop."""

from metaloop.callbacks.metrics_csv import MetricsCsv
from metaloop.callbacks.pictures import Pictures
from metaloop.callbacks.progress import Progress
from metaloop.callbacks.resume_checkpoint import DurableCheckpointIO, Interrupted, ResumeCheckpoint

__all__ = [
    "DurableCheckpointIO",
    "Interrupted",
    "MetricsCsv",
    "Pictures",
    "Progress",
    "ResumeCheckpoint",
]
