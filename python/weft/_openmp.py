"""How long a helping thread of OpenMP stays awake for its next task; set while the compiled module is loaded.

libgomp's default is a millisecond and more of spinning, in which a thread takes its processor from the one that it
waits for: on a machine that does other things too, a training step takes tens of times as long. Between the kernels of
a step lie microseconds. libgomp reads its settings when it is loaded, and from the environment alone.
"""

from __future__ import annotations

import os

SPINS = "GOMP_SPINCOUNT"
# Some 20 us.
_set = SPINS not in os.environ and "OMP_WAIT_POLICY" not in os.environ
if _set:
    os.environ[SPINS] = "1000"
try:
    import weft.kernels  # noqa: F401
finally:
    if _set:
        del os.environ[SPINS]
