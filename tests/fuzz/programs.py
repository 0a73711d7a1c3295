"""Random programs on Tensors: weft beside PyTorch, and eager beside captured.

A program is a list of statements that both libraries understand: views, arithmetic, changes in place, hooks, detach,
backward several times, errors in the middle. After each one all tensors and gradients are compared. weft may refuse
with an error what PyTorch does, and the program ends there; it never gives another number, and never goes on where
PyTorch refuses.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

import weft

from .children import Report, stream

PART = "programs"
Shape = tuple[int, ...]


def numbers(i: int, shape: Shape) -> np.ndarray[Any, Any]:
    """What tensor i begins with: far from 0, where signs would be chance."""
    size = int(np.prod(shape))
    return (((np.arange(size) * 7 + i * 3) % 11 - 5.3) / 3.1).reshape(shape)


# --- writing a program ---


class Writer:
    """Statements, with the shapes of the variables so far."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.shapes: dict[str, Shape] = {}
        self.lines: list[str] = []
        self.leaves: list[str] = []
        for i in range(rng.randrange(1, 4)):
            shape = tuple(rng.choice([0, 1, 2, 2, 3, 3, 4]) for _ in range(rng.randrange(0, 4)))
            grad = rng.random() < 0.75
            name = self.new(shape, f"L.tensor(numbers({i}, {shape}), dtype=L.float64, requires_grad={grad})")
            if grad:
                self.leaves.append(name)

    def new(self, shape: Shape, expression: str) -> str:
        name = f"t{len(self.shapes)}"
        self.shapes[name] = shape
        self.lines.append(f"{name} = {expression}")
        return name

    def any(self) -> tuple[str, Shape]:
        name = self.rng.choice(list(self.shapes)[-6:])
        return name, self.shapes[name]

    def like(self, shape: Shape) -> str:
        """An operand that broadcasts to a shape: a tensor, or a number."""
        found = [n for n, s in self.shapes.items() if s == shape]
        found += [n for n, s in self.shapes.items() if s in ((), (1,), shape[-1:]) and len(s) <= len(shape)]
        return self.rng.choice([*found, "0.7", "-2.0", "3"])

    # Each adds a statement.

    def unary(self) -> None:
        x, shape = self.any()
        form = self.rng.choice(
            ["{}.square()", "{}.sin()", "{}.cos()", "{}.exp()", "-{}", "{}.abs()", "{} ** 2", "({} * {}).sqrt()",
             "{}.clone()", "1.5 / ({} * {} + 2)", "L.nn.functional.relu({})", "L.nn.functional.silu({})", "{}.expm1()"]
        )  # fmt: skip
        self.new(shape, form.replace("{}", x))

    def binary(self) -> None:
        x, shape = self.any()
        self.new(shape, f"{x} {self.rng.choice('+-*')} {self.like(shape)}")

    def matmul(self) -> None:
        x, shape = self.any()
        if len(shape) >= 2:
            self.new((*shape[:-1], shape[-2]), f"{x} @ {x}.transpose(-1, -2)")

    def reduction(self) -> None:
        x, shape = self.any()
        if not shape or self.rng.random() < 0.3:
            self.new((), f"{x}.sum()")
            return
        axis, keep = self.rng.randrange(len(shape)), self.rng.random() < 0.5
        kept = tuple(1 if i == axis else n for i, n in enumerate(shape) if keep or i != axis)
        self.new(kept, f"{x}.{self.rng.choice(['sum', 'mean'])}({axis}, {keep})")

    def view(self) -> None:
        x, shape = self.any()
        order = self.rng.sample(range(len(shape)), len(shape))
        choices = [
            ((int(np.prod(shape)),), f"{x}.reshape({int(np.prod(shape))})"),
            (tuple(shape[i] for i in order), f"{x}.permute({order})"),
            ((1, *shape), f"{x}.unsqueeze(0)"),
            (shape[::-1], f"{x}.permute({list(range(len(shape)))[::-1]})"),
            ((2, *shape), f"{x}.expand(2, {', '.join(map(str, shape))})" if shape else f"{x}.expand(2)"),
        ]
        if shape and shape[0]:
            i = self.rng.randrange(shape[0])
            choices += [
                (shape[1:], f"{x}[{i}]"),
                ((shape[0] - i, *shape[1:]), f"{x}[{i}:]"),
                ((len(range(0, shape[0], 2)), *shape[1:]), f"{x}[::2]"),
            ]
        new, expression = self.rng.choice(choices)
        if len(new) < 5 and np.prod(new) < 500:
            self.new(new, expression)

    def detach(self) -> None:
        x, shape = self.any()
        self.new(shape, f"{x}.detach()")

    def in_place(self) -> None:
        x, shape = self.any()
        form = self.rng.choice(["{x}.add_({y})", "{x}.mul_({y})", "{x}.zero_()", "{x}.fill_(0.5)", "{x} += {y}",
                                "{x}[0] = {n}", "{x}.copy_({y})"])  # fmt: skip
        if "[0]" in form and not (shape and shape[0]):
            return
        y = self.like(shape)
        if "copy_" in form and y not in self.shapes:
            return
        line = form.format(x=x, y=y, n=self.rng.choice(["0.25", "-1.0"]))
        self.lines.append(f"with L.no_grad(): {line}" if self.rng.random() < 0.5 else line)

    def hook(self) -> None:
        x, _ = self.any()
        what = self.rng.choice(["g * 2", "None", "g + 1", "fail()"] if self.rng.random() < 0.5 else ["g * 0.5"])
        self.lines.append(f"{x}.register_hook(lambda g: {what})")

    def retain(self) -> None:
        x, _ = self.any()
        self.lines.append(f"{x}.retain_grad()")

    def unrecorded(self) -> None:
        x, shape = self.any()
        name = f"t{len(self.shapes)}"
        self.shapes[name] = shape
        self.lines.append(f"with L.no_grad(): {name} = {x} * {self.like(shape)}")

    def backward(self) -> None:
        x, shape = self.any()
        retain = self.rng.random() < 0.4
        gradient = f"L.tensor(numbers(9, {shape}), dtype=L.float64), " if shape or self.rng.random() < 0.3 else ""
        self.lines.append(f"{x}.backward({gradient}retain_graph={retain})")

    def grad(self) -> None:
        x, shape = self.any()
        if self.leaves and shape == ():
            leaf = self.rng.choice(self.leaves)
            self.new(self.shapes[leaf], f"L.autograd.grad({x}, {leaf}, retain_graph={self.rng.random() < 0.7})[0]")

    def forget(self) -> None:
        if self.leaves:
            self.lines.append(f"{self.rng.choice(self.leaves)}.grad = None")


STEPS = ["unary"] * 5 + ["binary"] * 6 + ["view"] * 6 + ["reduction"] * 3 + ["in_place"] * 3 + ["backward"] * 3
STEPS += ["matmul", "detach", "hook", "retain", "unrecorded", "grad", "forget"]


def program(seed: int, index: int) -> list[str]:
    rng = stream(seed, PART, index)
    writer = Writer(rng)
    for _ in range(rng.randrange(3, 25)):
        getattr(writer, rng.choice(STEPS))()
    if rng.random() < 0.8:
        writer.new((), f"{list(writer.shapes)[-1]}.sum()")
        writer.backward()
    return writer.lines


# --- running it ---


class Wanted(Exception):
    """What a hook raises."""


def _fail() -> None:
    raise Wanted


def run(lines: list[str], library: Any) -> Iterator[tuple[str, Any]]:
    """After each statement: its error, and the values and gradients of all variables."""
    names: dict[str, Any] = {"L": library, "numbers": numbers, "fail": _fail}
    for line in lines:
        error = None
        try:
            exec(line, names)
        except NameError:
            error = "NameError"  # a variable that an earlier error kept from being
        except Exception as e:
            error = f"{type(e).__name__}: {e}"
        yield error or "", {n: _shown(x) for n, x in names.items() if n[0] == "t" and n[1:].isdigit()}


def _shown(x: Any) -> tuple[Any, Any]:
    grad = x.grad if x.requires_grad and (x.is_leaf or getattr(x, "retains_grad", True)) else None
    return np.array(x.detach().tolist()), None if grad is None else np.array(grad.detach().tolist())


def _same(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is None and b is None
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-9, equal_nan=True)


def compare(lines: list[str], oracle: Any) -> tuple[str, str]:
    """How weft fares beside the oracle: ("same" or "refused", "") or ("finding", what happened)."""
    import warnings

    failed = False  # in both: how far a pass came before its error is nobody's business
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a gradient that is no leaf's
        for line, (ours, values), (theirs, expected) in zip(lines, run(lines, weft), run(lines, oracle), strict=True):
            if ours and not theirs:
                if ours.split(":")[0] in ("RuntimeError", "ValueError", "TypeError"):
                    return "refused", ""
                return "finding", f"`{line}`: {ours}, PyTorch does it"
            if theirs and not ours and "single memory location" in theirs:
                return "same", ""  # an operand that lies in what is written: copied first here
            if theirs and not ours:
                return "finding", f"`{line}`: PyTorch refuses with {theirs}, weft goes on"
            failed |= bool(ours)
            for name in values:
                for what, a, b in zip(("value", "gradient"), values[name], expected[name], strict=True):
                    if not _same(a, b) and not (failed and what == "gradient"):
                        return "finding", f"`{line}`: the {what} of {name} is {a}, PyTorch has {b}"
    return "same", ""


def _kind(happened: str) -> str:
    """What is wrong, without the names and numbers of the program."""
    words = happened.split("`: ")[-1].split()
    return " ".join(words[:2])


def shrunk(lines: list[str], oracle: Any) -> list[str]:
    """Without the statements that the finding does not need."""
    wanted = _kind(compare(lines, oracle)[1])
    i = len(lines) - 1
    while i >= 0:
        fewer = lines[:i] + lines[i + 1 :]
        with contextlib.suppress(Exception):
            if _kind(compare(fewer, oracle)[1]) == wanted:
                lines = fewer
        i -= 1
    return lines


PURE = ("unary", "binary", "view", "reduction", "matmul")


def captured(report: Report, index: int) -> None:
    """The same bits eager, recorded and replayed."""
    rng = stream(report.seed, PART + " captured", index)
    writer = Writer(rng)
    first = list(writer.shapes)
    del writer.lines[:]
    for _ in range(rng.randrange(2, 15)):
        getattr(writer, rng.choice(PURE))()
    body = "\n    ".join([*writer.lines, f"return [{', '.join(writer.shapes)}]"])
    source = f"def f({', '.join(first)}):\n    {body}\n"
    names: dict[str, Any] = {"L": weft}
    exec(source, names)
    step = weft.capture(names["f"])
    for turn in range(4):
        given = [weft.tensor(numbers(turn, writer.shapes[n]).astype(np.float32)) for n in first]
        for a, b in zip(names["f"](*given), step(*given), strict=True):
            if np.asarray(a).tobytes() != np.asarray(b).tobytes():
                report.found(index, source, f"call {turn} of the capture has other bits than eager")
                return
    report.counts["captured"] += 1


def try_one(report: Report, index: int) -> None:
    if index % 4 == 3:
        return captured(report, index)
    lines = program(report.seed, index)
    try:
        import torch as oracle
    except ImportError:
        oracle = weft  # then a program only must not kill, and do the same twice
    outcome, _ = compare(lines, oracle)
    report.counts[outcome] += 1
    if outcome == "finding":
        lines = shrunk(lines, oracle)
        report.found(index, "\n".join(lines), compare(lines, oracle)[1])
