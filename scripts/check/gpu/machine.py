"""What the machine is: its device, asked of whoever answers, and the versions of everything."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from gpu.child import ROOT

sys.path.append(str(ROOT))
from bench.host import commit, processor

PACKAGES = ("numpy", "torch", "pytest", "pytest-xdist", "hypothesis", "pybind11", "cmake", "ninja")
FIELDS = ("name", "compute_cap", "driver_version", "memory.total")
TORCH = """
import torch
for i in range(torch.cuda.device_count()):
    print(torch.cuda.get_device_name(i), "%d.%d" % torch.cuda.get_device_capability(i), sep=", ")
"""


def printed(command: Sequence[str], seconds: float = 60) -> str:
    """What a command prints; empty where it fails or there is none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def tool(name: str) -> str | None:
    """Where a program of the CUDA toolkit is."""
    home = os.environ.get("CUDA_HOME") or "/usr/local/cuda"
    return shutil.which(name) or shutil.which(name, path=f"{home}/bin:{home}/compute-sanitizer")


def devices() -> list[dict[str, str]]:
    """By nvidia-smi, else PyTorch: at least name and compute_cap of each; none where neither answers."""
    lines = printed(["nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader"]).splitlines()
    found = [dict(zip(FIELDS, line.split(", "), strict=False)) for line in lines]
    found = [device for device in found if re.fullmatch(r"\d+\.\d+", device.get("compute_cap", ""))]
    if found:
        return found
    lines = printed([sys.executable, "-c", TORCH]).splitlines()
    return [dict(zip(FIELDS, line.rsplit(", ", 1), strict=False)) for line in lines]


def architectures(found: Sequence[dict[str, str]]) -> str | None:
    """CMake's name of the devices' architectures, without PTX for others; None where no device is known."""
    numbers = sorted({device["compute_cap"].replace(".", "") for device in found}, key=int)
    return ";".join(f"{number}-real" for number in numbers) or None


def slug(name: str) -> str:
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "results"


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    programs = {"nvcc": tool("nvcc"), "g++": os.environ.get("CXX", "g++"), "cmake": "cmake",
                "compute-sanitizer": tool("compute-sanitizer")}  # fmt: skip
    for name, program in programs.items():
        text = printed([program, "--version"]) if program else ""
        number = re.search(r"(?:release |[Vv]ersion |\) )(\d+(?:\.\d+)+)", text)
        if number:
            found[name] = number[1]
    return found


def describe() -> dict[str, Any]:
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "versions": versions(),
    }
