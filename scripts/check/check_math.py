"""The errors of the functions in csrc/cpu/simd/math.h over the whole range of float.

python scripts/check/check_math.py            every one of the 2^32 floats: some minutes for each function
python scripts/check/check_math.py --step 64  every 64th

Compares with the naive kernels in double precision and prints, for each function and instruction set, the largest
error in units in the last place over the stated range, and whether NaN and infinity come out where they do in double
precision. Fails where an error is above the stated bound.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

import weft.kernels as K

# Function, stated bound, and the range of arguments for which it holds.
STATED = [
    ("exp", 2, -103.9, 88.7),
    ("expm1", 4, -np.inf, 88.7),
    ("log", 2, 1e-45, np.inf),
    ("log1p", 3, -0.9999999, np.inf),
    ("sigmoid", 3, -87.0, np.inf),
    ("tanh", 3, -np.inf, np.inf),
    ("erf", 3, -np.inf, np.inf),
]
BLOCK = 1 << 22


def errors(name: str, x: np.ndarray, isa: str) -> tuple[np.ndarray, np.ndarray]:
    """Units in the last place, and where one of the two is not finite and they differ."""
    function = getattr(K, name)
    K.set_isa("reference")
    exact = np.asarray(function(x.astype(np.float64)))
    K.set_isa(isa)
    ours = np.asarray(function(x)).astype(np.float64)
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        ulp = np.spacing(np.maximum(np.abs(rounded), np.finfo(np.float32).tiny)).astype(np.float64)
        off = np.abs(ours - exact) / ulp
    finite = np.isfinite(rounded) & np.isfinite(ours)
    same = (ours == rounded) | (np.isnan(ours) & np.isnan(rounded))
    return np.where(finite, off, 0), ~finite & ~same


def check(name: str, bound: float, low: float, high: float, isa: str, step: int) -> bool:
    worst, at, strange = 0.0, np.float32(0), 0
    for start in range(0, 1 << 32, BLOCK * step):
        bits = np.arange(start, min(start + BLOCK * step, 1 << 32), step, dtype=np.uint64).astype(np.uint32)
        x = bits.view(np.float32)
        off, wrong = errors(name, x, isa)
        with np.errstate(invalid="ignore"):
            inside = (x >= low) & (x <= high)
        off[~inside] = 0
        strange += int((wrong & (inside | np.isnan(x))).sum())
        best = int(off.argmax())
        if off[best] > worst:
            worst, at = float(off[best]), x[best]
    good = worst <= bound and strange == 0
    print(f"{isa:9s} {name:8s} {worst:5.2f} ulp at {at!r}, stated {bound}; not finite where the other is: {strange}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--isa", default=K.isa())
    arguments = parser.parse_args()
    results = [check(*stated, arguments.isa, arguments.step) for stated in STATED]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
