"""When to log, draw, save and stop."""

from metaloop.callbacks.best_checkpoint import BestCheckpoint, EnsembleCheckpoints
from metaloop.callbacks.checkpoint_io import DurableCheckpointIO
from metaloop.callbacks.metrics_csv import MetricsCsv
from metaloop.callbacks.pictures import Pictures
from metaloop.callbacks.progress import Progress
from metaloop.callbacks.resume_checkpoint import ResumeCheckpoint
from metaloop.callbacks.wandb_logger import OutageProofWandbLogger

__all__ = [
    "BestCheckpoint",
    "DurableCheckpointIO",
    "EnsembleCheckpoints",
    "MetricsCsv",
    "OutageProofWandbLogger",
    "Pictures",
    "Progress",
    "ResumeCheckpoint",
]
