"""Trains LeNet-5 and shows what it has learned.

    python examples/train_lenet.py                       # MNIST, six epochs
    python examples/train_lenet.py --dataset fashion --augment
    python examples/train_lenet.py --variant 1998        # the paper's tanh and average-pooling
    python examples/train_lenet.py --device cuda
    python examples/train_lenet.py --resume              # go on from the checkpoint in --output

Writes to the output folder: checkpoint.safetensors (to resume), model.safetensors (weights for examples/predict.py),
log.csv, result.json, and pictures: curves.png, filters.png, features.png, mistakes.png. Without safetensors the first
two are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import weft
from weft import nn
from weft.data import (
    MNIST,
    Compose,
    DataLoader,
    Dataset,
    DatasetNotFoundError,
    Digits,
    FashionMNIST,
    RandomRotation,
    RandomShift,
)
from weft.models import LeNet5, LeNet5_1998
from weft.train import Callback, Checkpoint, CSVLogger, ProgressBar, Trainer, accuracy, confusion_matrix

OPTIMIZERS = {
    "sgd": lambda p, lr: weft.optim.SGD(p, lr=lr, momentum=0.9, weight_decay=5e-4),
    "nesterov": lambda p, lr: weft.optim.SGD(p, lr=lr, momentum=0.9, weight_decay=5e-4, nesterov=True),
    "adagrad": lambda p, lr: weft.optim.Adagrad(p, lr=lr),
    "rmsprop": lambda p, lr: weft.optim.RMSprop(p, lr=lr),
    "adam": lambda p, lr: weft.optim.Adam(p, lr=lr),
    "adamw": lambda p, lr: weft.optim.AdamW(p, lr=lr),
}

VARIANTS = {"modern": "LeNet-5", "1998": "LeNet-5 of 1998"}  # as the pictures name them
DATASETS = {"mnist": "MNIST", "fashion": "Fashion-MNIST", "digits": "8x8 digits"}


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=list(DATASETS), help="default: mnist, else digits")
    parser.add_argument("--data", help="folder of all data sets (default: WEFT_DATA_DIR, else a cache folder)")
    parser.add_argument("--epochs", type=int, help="default: 6, for the small digits 30")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, help="the largest rate of the cycle (default: 0.08, adaptive ones 0.003)")
    parser.add_argument("--optimizer", choices=list(OPTIMIZERS), default="sgd")
    parser.add_argument("--variant", choices=list(VARIANTS), default="modern")
    parser.add_argument("--augment", action="store_true", help="random shifts by 2 pixels and turns by 10 degrees")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: all processors")
    parser.add_argument("--device", default="cpu", help="cpu or cuda: the model and the whole data set go there")
    parser.add_argument("--output", type=Path, default=Path("runs/lenet"), help="folder for all that is written")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the output folder")
    parser.add_argument("--no-pictures", action="store_true")
    parser.add_argument("--require-accuracy", type=float, help="exit with 1 where the test accuracy is lower")
    arguments = parser.parse_args(argv)
    if arguments.lr is None:
        arguments.lr = 0.08 if arguments.optimizer in ("sgd", "nesterov") else 0.003
    return arguments


def load_data(name: str | None, root: str | None) -> tuple[str, Dataset, Dataset]:
    """Training and test set. Where MNIST was not asked for by name and cannot be had: the 8x8 digits."""
    if name == "fashion":
        return name, FashionMNIST(root, train=True), FashionMNIST(root, train=False)
    if name != "digits":
        try:
            return "mnist", MNIST(root, train=True), MNIST(root, train=False)
        except DatasetNotFoundError as error:
            if name == "mnist":
                raise
            print(f"{error}\n\nMNIST cannot be had: training on scikit-learn's 1,797 digits of 8x8 pixels instead.\n")
    return "digits", Digits(train=True, size=28), Digits(train=False, size=28)


class PrintEpochs(Callback):
    """One line for each epoch."""

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        print(
            f"epoch {row['epoch']:2d}/{trainer.epochs}: loss {row['loss']:.4f}, test loss {row['val_loss']:.4f}, "
            f"test accuracy {100 * row['val_accuracy']:.2f}%, {row['images_per_second']:,.0f} images/s",
            flush=True,
        )


def print_confusion(counts: np.ndarray, names: list[str]) -> None:
    short = [name[:6] for name in names]
    width = max(6, *(len(name) for name in short)) + 1
    print("\nconfusion matrix (rows: true, columns: predicted)")
    print(" " * width + "".join(f"{name:>{width}}" for name in short))
    for name, row in zip(short, counts, strict=True):
        print(f"{name:>{width}}" + "".join(f"{n:>{width}}" if n else f"{'.':>{width}}" for n in row))


def can_save() -> bool:
    """Whether weights can be written; where not, a line says so."""
    if importlib.util.find_spec("safetensors"):
        return True
    print("safetensors is not installed: no checkpoint and no weights are written (pip install safetensors)")
    return False


def make_trainer(arguments: argparse.Namespace, model: nn.Module, batches: int, save: bool) -> Trainer:
    optimizer = OPTIMIZERS[arguments.optimizer](list(model.parameters()), arguments.lr)
    scheduler = weft.optim.lr_scheduler.OneCycleLR(
        optimizer, arguments.lr, total_steps=arguments.epochs * batches, cycle_momentum=False
    )
    return Trainer(
        model,
        nn.CrossEntropyLoss(),
        optimizer,
        scheduler=scheduler,
        scheduler_interval="step",
        metrics={"accuracy": accuracy},
        callbacks=[
            ProgressBar(),
            PrintEpochs(),
            CSVLogger(arguments.output / "log.csv"),
            *([Checkpoint(arguments.output / "checkpoint.safetensors")] if save else []),
        ],
    )


def main(argv: list[str] | None = None) -> dict[str, Any]:
    arguments = parse(argv)
    if arguments.threads:
        weft.set_num_threads(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
    weft.manual_seed(arguments.seed)

    name, train_set, test_set = load_data(arguments.dataset, arguments.data)
    if arguments.epochs is None:
        arguments.epochs = 30 if name == "digits" else 6
    model = LeNet5() if arguments.variant == "modern" else LeNet5_1998()
    about = weft.config()
    print(f"{len(train_set):,} training, {len(test_set):,} test images ({name}); {arguments.device}, {about['isa']}, "
          f"{about['threads']} threads, seed {arguments.seed}")  # fmt: skip
    print(weft.summary(model, (1, 1, 28, 28)), "\n")

    transform = Compose([RandomRotation(10), RandomShift(2)]) if arguments.augment else None
    model.to(arguments.device)
    loader = DataLoader(
        train_set, arguments.batch_size, shuffle=True, seed=arguments.seed, transform=transform, device=arguments.device
    )
    test_loader = DataLoader(test_set, 1000, device=arguments.device)
    save = can_save()
    trainer = make_trainer(arguments, model, len(loader), save)
    if arguments.resume:
        trainer.resume(arguments.output / "checkpoint.safetensors")
        print(f"resumed after epoch {trainer.epoch}")
    start = time.perf_counter()
    history = trainer.fit(loader, test_loader, arguments.epochs)
    train_seconds = time.perf_counter() - start

    scores = trainer.predict(test_loader)
    counts = confusion_matrix(scores, test_set.labels)
    test_accuracy = float(counts.trace() / counts.sum())
    print_confusion(counts, test_set.classes)
    trained = len(train_set) * len(history)
    speed = trained / sum(row["seconds"] for row in history)
    print(f"\ntest accuracy {100 * test_accuracy:.2f}%, {counts.sum() - counts.trace()} mistakes; "
          f"{speed:,.0f} images per second in training")  # fmt: skip

    # One entry: safetensors writes several in any order, and the same training shall give the same file.
    about_model = {
        "variant": arguments.variant,
        "classes": test_set.classes,
        "mean": float(test_set.mean[0]),
        "std": float(test_set.std[0]),
    }
    if save:
        weft.save(model.state_dict(), arguments.output / "model.safetensors", {"lenet": json.dumps(about_model)})
    result = {
        "dataset": name,
        "variant": arguments.variant,
        "parameters": sum(p.numel() for p in model.parameters()),
        "test_accuracy": test_accuracy,
        "epochs": len(history),
        "seed": arguments.seed,
        "train_seconds": train_seconds,
        "images_per_second": speed,
        "confusion": counts.tolist(),
    }
    (arguments.output / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    if not arguments.no_pictures:
        import lenet_pictures

        model.to("cpu")
        title = f"{VARIANTS[arguments.variant]} on {DATASETS[name]}"
        lenet_pictures.draw_all(arguments.output, title, model, history, test_set, scores)
    print(f"written to {arguments.output}")
    return result


if __name__ == "__main__":
    wanted = parse(None).require_accuracy
    reached = main()["test_accuracy"]
    if wanted is not None and reached < wanted:
        sys.exit(f"test accuracy {reached:.4f} is below the required {wanted}")
