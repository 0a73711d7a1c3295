"""python -m bench on the device, beside PyTorch where there is one."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

from gpu import machine
from gpu.child import say
from gpu.part import Part
from gpu.results import read

TORCH = """
import json, torch
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
                  "available": torch.cuda.is_available()}))
"""
CLOSING = 40.0  # seconds of the part's time for imports, the row in work and what is printed at the end


def torch_words(part: Part) -> str:
    """What is to be said of PyTorch, in one line; empty where it can use the device."""
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed: weft's rows alone"
    text = machine.printed([sys.executable, "-c", TORCH], min(90.0, part.left()))
    if not text.startswith("{"):
        return "PyTorch cannot be imported: weft's rows alone"
    about = json.loads(text)
    part.report(torch=about)
    return "" if about["available"] else f"PyTorch {about['version']} has no device: weft's rows alone"


def benchmark(part: Part) -> dict[str, Any]:
    part.need_device()
    words = torch_words(part)
    if words:
        say(words)
    file = part.scratch / "rows.json"
    command = [sys.executable, "-m", "bench", "--device", "cuda", "--json", str(file)]
    if importlib.util.find_spec("torch"):
        command += ["--vs", "torch"]
    if part.settings.quick:
        command.append("--quick")
    known = part.run([sys.executable, "-m", "bench", "--help"], seconds=120, environment=part.environment())
    if any("--budget" in line for line in known.tail):
        command += ["--budget", str(int(max(part.left() - CLOSING, 1)))]
    done = part.run(command, environment=part.environment(), shown=lambda line: True, tick=lambda: take(part, file))
    measured = take(part, file)
    rows = measured.get("rows", [])
    failed, left_out = [row for row in rows if row.get("error")], measured.get("left_out", 0)
    reason = f"{len(rows)} rows" + (f", {left_out} left out" if left_out else "") + (f"; {words}" if words else "")
    if done.status is None:
        return {"status": "out of time", "reason": reason}
    if done.status != 0:
        error = next((line for line in reversed(done.tail) if re.match(r"\w+(Error|Exception)\b", line)), done.last())
        return {"status": "failed", "reason": f"{error} ({done.how()}, after {reason})", "output": done.tail[-60:]}
    if failed:
        first = f"{failed[0]['name']} {failed[0]['shape']}: {failed[0]['error']}"
        return {"status": "failed", "reason": f"{reason}; {len(failed)} of them failed, the first: {first}"}
    return {"status": "out of time" if left_out else "passed" if rows else "failed", "reason": reason}


def take(part: Part, file: Path) -> dict[str, Any]:
    """Brings the rows that are finished into the results; what the benchmarks wrote, or nothing yet."""
    measured = read(file)
    if not {"machine", "limits", "rows"} <= set(measured):
        return {}
    part.results.add_rows(measured, part.settings.quick)
    part.report(rows=len(measured["rows"]))
    return measured
