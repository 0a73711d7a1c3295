"""Optimizers and learning-rate schedules, with torch's names and defaults."""

from __future__ import annotations

from weft.optim import lr_scheduler
from weft.optim.algorithms import SGD, Adagrad, Adam, AdamW, RMSprop
from weft.optim.optimizer import Optimizer

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]
