"""Training: a Trainer with callbacks, checkpoints that resume to the same bits, metrics."""

from __future__ import annotations

from weft.train.callbacks import Callback, CSVLogger, EarlyStopping, ProgressBar
from weft.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from weft.train.metrics import accuracy, confusion_matrix, top_k_accuracy
from weft.train.trainer import NonFiniteLossError, Trainer

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "NonFiniteLossError",
    "ProgressBar",
    "Trainer",
    "accuracy",
    "confusion_matrix",
    "load_checkpoint",
    "save_checkpoint",
    "top_k_accuracy",
]
