"""Destinations of logged values and figures."""

from metaloop.loggers.figures import log_figures, save_figures
from metaloop.loggers.metrics_csv import MetricsCsv
from metaloop.loggers.tensorboard_logger import ResumableTensorBoardLogger
from metaloop.loggers.wandb_logger import OutageProofWandbLogger

__all__ = [
    "MetricsCsv",
    "OutageProofWandbLogger",
    "ResumableTensorBoardLogger",
    "log_figures",
    "save_figures",
]
