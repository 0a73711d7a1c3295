"""How long a helping thread of OpenMP stays awake for its next task; set while the compiled module is loaded.

libgomp's default is 300,000 turns of a loop, milliseconds in which a thread takes its processor from the one that it
waits for: on a machine that does other things too, a training step then takes up to tens of times as long. With a
thousand turns helpers fall asleep between the kernels of a step that is not captured, which costs it a tenth. libgomp
reads its settings when it is loaded, and from the environment alone.
"""

from __future__ import annotations

import os

SPINS = "GOMP_SPINCOUNT"
_set = SPINS not in os.environ and "OMP_WAIT_POLICY" not in os.environ
if _set:
    os.environ[SPINS] = "10000"
try:
    import weft.kernels  # noqa: F401
finally:
    if _set:
        del os.environ[SPINS]
