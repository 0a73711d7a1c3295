"""The recipe of examples/train_lenet.py in PyTorch, as a program: what bench/cases/mnist.py sets beside it.

Usage: python -m bench.peers.torch_lenet FOLDER MODE THREADS. FOLDER holds MNIST's four files, MODE is eager,
channels_last or compile. All images lie in one tensor, so that no loader slows PyTorch down.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import torch

from bench.peers.torch_peer import lenet

EPOCHS, BATCH = 6, 64


def read(folder: Path, name: str, header: int) -> np.ndarray:
    """A file of MNIST, packed or not, without its header."""
    path = folder / name
    content = path.read_bytes() if path.exists() else gzip.decompress((folder / f"{name}.gz").read_bytes())
    return np.frombuffer(content, np.uint8, offset=header)


def load(folder: Path, part: str, mode: str) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = read(folder, f"{part}-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    images = (torch.from_numpy(pixels.astype(np.float32)) / 255 - 0.1307) / 0.3081
    if mode == "channels_last":
        images = images.contiguous(memory_format=torch.channels_last)
    return images, torch.from_numpy(read(folder, f"{part}-labels-idx1-ubyte", 8).astype(np.int64))


def train(folder: Path, mode: str) -> None:
    torch.manual_seed(0)
    images, labels = load(folder, "train", mode)
    test_images, test_labels = load(folder, "t10k", mode)
    model = lenet()
    if mode == "channels_last":
        model = model.to(memory_format=torch.channels_last)
    forward = torch.compile(model) if mode == "compile" else model
    loss_function = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.08, momentum=0.9, weight_decay=5e-4)
    steps = EPOCHS * -(-len(images) // BATCH)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.08, total_steps=steps, cycle_momentum=False)
    for epoch in range(1, EPOCHS + 1):
        model.train()
        for batch in torch.randperm(len(images)).split(BATCH):
            loss = loss_function(forward(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        model.eval()
        with torch.inference_mode():
            right = sum(
                int((model(x).argmax(1) == y).sum())
                for x, y in zip(test_images.split(1000), test_labels.split(1000), strict=True)
            )
        print(f"epoch {epoch:2d}/{EPOCHS}: test accuracy {100 * right / len(test_labels):.2f}%", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    train(Path(sys.argv[1]), sys.argv[2])
