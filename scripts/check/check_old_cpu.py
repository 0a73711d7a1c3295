"""Runs weft on processors of former years, by emulation: an instruction of a newer set anywhere outside of its own
kernels would kill the process there.

    python scripts/check/check_old_cpu.py      # needs qemu-x86_64 (Debian: qemu-user); without it, says so and succeeds

On each processor the import must choose the right instruction set, and kernels of every family and a training step of
LeNet-5 must agree with the naive kernels.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Nehalem (2008) has SSE4.2, SandyBridge (2011) AVX, Haswell (2013) AVX2 and FMA.
PROCESSORS = {"Nehalem": "baseline", "SandyBridge": "baseline", "Haswell": "avx2"}

PROGRAM = """
import sys
import numpy as np
import weft
import weft.kernels as K

best = K.available_isas()[-1]
assert K.isa() == best, (K.isa(), best)
rng = np.random.default_rng(0)
normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
x, w, dout = normal(2, 3, 9, 8), normal(16, 3, 3, 3), normal(2, 16, 9, 8)
a, b, images, filters = normal(33, 20), normal(20, 17), normal(1, 64, 8, 8), normal(64, 64, 3, 3)

def kernels():
    yield K.matmul(a, b)
    yield K.conv2d(x, w, padding=1)
    yield K.conv2d_backward_input(dout, w, x.shape, padding=1)
    yield K.conv2d_backward_weight(dout, x, w.shape, padding=1)
    yield K.conv2d(images, filters, padding=1)
    for function in (K.relu, K.gelu, K.tanh, K.sigmoid, K.exp, K.softmax, K.sum, K.var):
        yield function(a)
    yield K.max_pool2d(x, 2)[0]
    yield K.avg_pool2d(x, 2)
    yield K.cross_entropy(a, np.arange(33) % 20)[0]
    yield K.uniform((100,), generator=K.Generator(1))

def train():
    weft.manual_seed(0)
    model = weft.models.LeNet5()
    optimizer = weft.optim.Adam(model.parameters(), lr=1e-3)
    batch, labels = weft.tensor(rng_images), weft.tensor(np.arange(4))
    for _ in range(2):
        optimizer.zero_grad()
        loss = weft.nn.functional.cross_entropy(model(batch), labels)
        loss.backward()
        optimizer.step()
    return loss.item()

rng_images = normal(4, 1, 28, 28)
fast, fast_loss = [np.asarray(array) for array in kernels()], train()
K.set_isa("reference")
naive, naive_loss = [np.asarray(array) for array in kernels()], train()
for i, (got, wanted) in enumerate(zip(fast, naive, strict=True)):
    assert np.allclose(got, wanted, rtol=1e-4, atol=1e-4), i
assert abs(fast_loss - naive_loss) < 1e-4, (fast_loss, naive_loss)
print(best)
"""


def run(emulator: str, processor: str) -> str:
    """The instruction set that weft uses on a processor. RuntimeError where something fails or crashes."""
    # NumPy's own OpenBLAS misjudges emulated processors: it is told which one to use.
    environment = {**os.environ, "OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"}
    environment.pop("WEFT_ISA", None)
    command = [emulator, "-cpu", processor, sys.executable, "-W", "ignore", "-c", PROGRAM]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"weft fails on {processor} (exit status {done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout.split()[-1]


def main() -> int:
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        print("check_old_cpu: no qemu-x86_64 here, nothing was checked")
        return 0
    import weft.kernels as K

    for processor, wanted in PROCESSORS.items():
        wanted = wanted if wanted in K.available_isas() else "baseline"
        found = run(emulator, processor)
        print(f"check_old_cpu: {processor} imports weft, uses {found}, computes like the naive kernels")
        if found != wanted:
            print(f"check_old_cpu: {processor} was to use {wanted}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
