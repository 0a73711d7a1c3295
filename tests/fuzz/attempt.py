"""The child of calls.py: makes calls and judges them. Prints a line of JSON for each finding and the counts at the end.

python -m tests.fuzz.attempt PLACE SEED FIRST COUNT [LINES]
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import resource
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

import weft
import weft.kernels as k

from . import values
from .calls import call_of
from .targets import Target

KINDS = (
    ValueError, TypeError, IndexError, RuntimeError, MemoryError, OverflowError, BufferError, OSError, StopIteration,
    ImportError, values.Planted, np.ma.MaskError,
)  # fmt: skip
# Though they are subclasses of these.
NEVER = (RecursionError, UnicodeError, NotImplementedError)
USELESS = re.compile(
    r"bad_alloc|vector::|basic_string|std::|Unable to cast|_M_|unordered_map|stoi|nullptr|Unknown exception|"
    r"instance allocation failed|UnboundLocal|' object has no attribute '|not subscriptable"
)
# Python's and NumPy's own words, by which their users know them.
FOREIGN = re.compile(
    "|".join([
        "^must be real number", "^cannot convert float", "^int too large", "^an integer is required",
        "cannot be interpreted as an integer", "required positional argument", "unexpected keyword argument",
        "positional arguments? but", "setting an array element", "Maximum", "maximum recursion", "unhashable",
        "takes no (keyword )?arguments", "takes exactly", "could not convert", "incompatible function arguments",
        "Exceeds the limit", "descriptor", "must be str", r"len\(\)", "argument of type", "object is not iterable",
        "Unable to allocate", "__new__", "__get__", "truth value of an", "only 0-dimensional arrays",
        "expected str, bytes", "object is not callable", "can only convert an array of size", "Cannot interpret",
        r"int\(\) argument must be", "only one element tensors", "__array__ method", "only integer scalar arrays",
        "returned non-", "Only length-1", "Cannot construct", "ufunc", r"__len__\(\)", "multiply sequence",
        "Boolean value of Tensor", "iteration over a 0-d", "Tuple must have size", r"float\(\) argument must be",
        "Could not convert tensor", "does not support item assignment", "Object of type", "not supported between",
        "unsupported operand", "bad operand type", "array is too big", "negative dimensions are not allowed",
        "embedded null byte", "a bytes-like object is required",
        "argument should be a str", "Field elements", "Cannot compare structured",
    ])
)  # fmt: skip
# What takes any object that has a trainer's or a tensor's methods: Python says, as with PyTorch, which it lacks.
DUCKS = re.compile(r"weft\.train\.\w+\.on_\w+|weft\.train\.Callback.*|(nn|weft\.models)\.\w+\.forward\w*")
# What differs from call to call, or has no elements that mean something.
UNCERTAIN = re.compile(
    r"k\.(uniform|normal|bernoulli|randint|randperm|fill_\w+|dropout|empty\w*|memory_stats|.*data_ptr.*|.*version.*|"
    r"set_isa|isa|available_isas|kernel_sources|fma_loop|start_profile|stop_profile|pinned|Replay.*|Array\.__.*|"
    r"manual_seed|default_generator|Generator.*|signature.*|.*capture.*|cuda_.*|set_.*|conv_precision|write_now)(\.__get__)?"
)
# Of Python's callables those whose results are functions of their arguments, but for what is random or not set.
FUNCTIONS = re.compile(r"(?!.*\.(rand\w*|empty\w*|dropout|__hash__|capture|config|load))(F|weft|weft\.Tensor|nn)\.\w+")
# What they may change beside self.
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
NUMPY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "maximum": np.maximum,
    "minimum": np.minimum, "neg": np.negative, "abs": np.abs, "square": np.square, "sqrt": np.sqrt, "exp": np.exp,
    "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "floor": np.floor,
    "ceil": np.ceil, "round": np.round, "sign": np.sign, "reciprocal": np.reciprocal, "eq": np.equal,
    "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "isnan": np.isnan, "isfinite": np.isfinite, "matmul": np.matmul,
}  # fmt: skip


# --- the process around a call ---


@contextlib.contextmanager
def as_before() -> Iterator[None]:
    """The settings of the process are what they were, whatever a call did."""
    isa, threads, precision = k.isa(), k.num_threads(), k.conv_precision()
    try:
        yield
    finally:
        k.set_isa(isa)
        k.set_num_threads(threads)
        k.set_conv_precision(precision)
        k.set_default_device("cpu")
        k.set_poison(False)
        k.set_destinations([])
        weft.set_grad_enabled(True)
        with contextlib.suppress(RuntimeError):
            k.stop_profile()
        k.set_site_hook(weft.profiler._site)


# --- judging ---


def arrays_in(value: Any) -> list[np.ndarray]:
    """The elements of what a call gave."""
    if isinstance(value, weft.Tensor):
        value = value.array
    if isinstance(value, k.Array):
        wide = k.cast(value, "float32") if value.dtype == k.DType.bfloat16 else value
        return [np.array(wide)] if wide.size < 1e6 else []
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return [np.array(value)]
    if isinstance(value, (tuple, list)):
        return [a for v in value for a in arrays_in(v)]
    return []


def same(a: np.ndarray, b: np.ndarray, narrow: bool) -> bool:
    """Within what sums in another order may differ by. narrow: bfloat16 was rounded to."""
    if a.shape != b.shape:
        return False
    if a.dtype.kind != "f" or a.size == 0:
        return bool((a == b).all())
    a, b, wide = a.astype(np.float64), b.astype(np.float64), a.dtype == np.float64
    part = 2e-2 if narrow else 1e-10 if wide else 2e-4
    finite = np.abs(b[np.isfinite(b)])
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    with np.errstate(invalid="ignore"):
        return bool(((np.abs(a - b) <= part * (scale + np.abs(b))) | (a == b) | (np.isnan(a) & np.isnan(b))).all())


def moderate(names: dict[str, Any], arguments: list[str]) -> bool:
    """Whether all numbers that go in are such that no sum of them leaves the range of a dtype, and none of them is so
    small that a product takes it for 0."""

    def fits(a: np.ndarray) -> bool:
        size = np.abs(a.astype(float))
        return bool((size < 1e4).all() and ((size == 0) | (size > np.finfo(np.float32).tiny)).all())

    def small(value: Any) -> bool:
        if isinstance(value, (bool, str)) or value is None:
            return True
        if isinstance(value, (int, float)):
            return abs(value) < 1e4
        with contextlib.suppress(Exception):
            if isinstance(value, (tuple, list)):
                return all(small(v) for v in value)
            ours = isinstance(value, (weft.Tensor, k.Array, k.DType, k.Generator))
            found = arrays_in(value) if ours else [np.asarray(value)]
            return all(a.dtype.kind in "fiub" and fits(a) for a in found)
        return False

    return all(small(names[name]) for name in arguments if name in names)


def _overlap(a: Any, b: Any) -> bool:
    """Whether an output lies in an input's memory."""
    if isinstance(b, (list, tuple)):
        return any(_overlap(a, x) for x in b)
    if b is None:
        return False
    if b is a or getattr(b, "array", None) is a:
        return True
    return bool(np.may_share_memory(np.asarray(a), np.asarray(b)))


class Attempt:
    """One call."""

    def __init__(self, target: Target | None, lines: list[str]) -> None:
        self.target, self.lines = target, lines
        self.name = target.name if target else ""
        self.outputs = {p.name for p in target.parameters if "Output" in p.annotation} if target else set()
        if self.name in ("k.cross_entropy_backward", "k.write_now"):
            self.outputs |= {"dlogits", "out"}
        if not self.name.startswith("k."):
            self.outputs |= set(STATISTICS)

    def arguments(self) -> tuple[dict[str, Any], list[str]]:
        names = {name: getattr(values, name) for name in values.__all__}
        given = []
        k.manual_seed(0)  # weights are drawn, by layers made here
        for line in self.lines[:-1]:
            exec(line, names)
            given.append(line.split(" = ", 1)[0])
        return names, given

    def judge(self) -> tuple[str, str | None]:
        """("accepted" or "refused", what is wrong with that)."""
        names: dict[str, Any] = {}
        try:
            names, given = self.arguments()
        except Exception:
            return "refused", None  # an argument that cannot be
        try:
            before, moderate_ones = self._bytes(names, given), moderate(names, given)
            exec(f"result = {self.lines[-1]}", names)
        except KINDS as error:
            if isinstance(error, NEVER) and (self.name.startswith("k.") or self._is_own(names)):
                return "refused", f"{type(error).__name__}: {str(error)[:150]}"
            changed = [n for n, text in before.items() if self._bytes(names, [n]).get(n) != text]
            if changed:
                return "refused", f"refused, but changes its argument {changed[0]}"
            own = self.target is None or self.target.owner is None or self.name.startswith("k.") or self._is_own(names)
            return "refused", self._judge_text(error) if own else None
        except Exception as error:
            # A method of Python called with something else for self finds no attributes there.
            misused = self.target is not None and self.target.owner is not None and not self._is_own(names)
            misused |= any("Tensor.__new__" in line for line in self.lines) or bool(DUCKS.fullmatch(self.name))
            misused |= self.name == "k.attributes_are"  # it reads the attributes that it is told
            misused |= isinstance(error, AttributeError) and self.name.startswith("nn.Module.get_")
            misused |= isinstance(error, AssertionError) and self.name.endswith("gradcheck")  # which says so by it
            misused |= isinstance(error, KeyError) and self.name.endswith(("item__", ".pop"))
            return "refused", None if misused else f"{type(error).__name__}: {str(error)[:150]}"
        if not self.name.startswith("k.") and not FUNCTIONS.fullmatch(self.name):
            return "accepted", None
        changed = [n for n, text in before.items() if self._bytes(names, [n]).get(n) != text]
        if changed:
            return "accepted", f"changes its argument {changed[0]}"
        return "accepted", self._judge_out(names) or (self._judge_result(names, given) if moderate_ones else None)

    def _is_own(self, names: dict[str, Any]) -> bool:
        """Whether self, where it got so far, is an object of the method's class."""
        with contextlib.suppress(Exception):
            return isinstance(names["self"], eval(self.target.owner, names))
        return "self" not in names

    def _bytes(self, names: dict[str, Any], given: list[str]) -> dict[str, bytes]:
        """What arguments hold that are not written."""
        found = {}
        for name in given:
            value = names[name]
            inner = value.array if isinstance(value, weft.Tensor) and hasattr(value, "array") else value
            if name == "self" or name in self.outputs or not isinstance(inner, (np.ndarray, k.Array)):
                continue
            with contextlib.suppress(Exception):
                if any(_overlap(inner, names.get(out)) for out in self.outputs):
                    continue
                if inner.nbytes < 1e6:
                    found[name] = np.asarray(inner).tobytes()
        return found

    def _judge_text(self, error: BaseException) -> str | None:
        text = str(error)
        if isinstance(error, values.Planted) or (isinstance(error, (MemoryError, StopIteration)) and not text):
            return None
        if not text:
            return f"{type(error).__name__} without a text"
        if "incompatible function arguments" not in text and (found := USELESS.search(text)):
            return f"useless text ({found[0]}): {type(error).__name__}: {text[:150]}"
        if ":" not in text and not FOREIGN.search(text) and isinstance(error, (ValueError, TypeError, RuntimeError)):
            return f"a text that names no operation: {type(error).__name__}: {text[:150]}"
        return None

    def _judge_out(self, names: dict[str, Any]) -> str | None:
        out, result = names.get("out"), names.get("result")
        if "out" not in self.outputs or out is None or not isinstance(result, k.Array):
            return None
        with contextlib.suppress(Exception):
            if not np.array_equal(np.asarray(out), np.asarray(result), equal_nan=True):
                return "the result is not in out"
        return None

    def _judge_result(self, names: dict[str, Any], given: list[str]) -> str | None:
        if UNCERTAIN.fullmatch(self.name):
            return None
        ours = arrays_in(names["result"])
        again, _ = self.arguments()
        before = k.isa()
        k.set_isa("reference")
        try:
            exec(f"result = {self.lines[-1]}", again)
        except Exception as error:
            return f"the naive kernels refuse: {type(error).__name__}: {str(error)[:120]}"
        finally:
            k.set_isa(before)
        theirs = arrays_in(again["result"])
        narrow = any("bfloat16" in str(getattr(v, "dtype", "")) for v in again.values())
        outputs = [n for n in given if n in self.outputs]
        ours += [a for n in outputs for a in arrays_in(names[n])]
        theirs += [a for n in outputs for a in arrays_in(again[n])]
        if len(ours) != len(theirs) or not all(same(a, b, narrow) for a, b in zip(ours, theirs, strict=True)):
            return f"differs from the naive kernels: {[a.tolist() for a in ours]} and {[b.tolist() for b in theirs]}"[
                :300
            ]
        return None if narrow else self._beside_numpy(ours)

    def _beside_numpy(self, ours: list[np.ndarray]) -> str | None:
        function = NUMPY.get(self.name[2:])
        names, given = self.arguments()
        operands = [arrays_in(names[n]) for n in given if n in ("x", "a", "b")]
        if function is None or not all(len(x) == 1 and x[0].dtype.kind == "f" for x in operands) or len(ours) < 1:
            return None
        with np.errstate(all="ignore"):
            theirs = np.asarray(function(*(x[0].astype(np.float64) for x in operands)))
            if ours[0].dtype.kind == "f":
                theirs = theirs.astype(ours[0].dtype).astype(np.float64)  # what leaves its range is infinite there
        if not same(ours[0].astype(theirs.dtype), theirs, any(x[0].dtype != np.float64 for x in operands)):
            return f"differs from NumPy: {ours[0].tolist()} and {theirs.tolist()}"[:300]
        return None


def main() -> None:
    place, seed, first, count = sys.argv[1], *map(int, sys.argv[2:5])
    given = json.loads(sys.argv[5]) if len(sys.argv) > 5 else None
    told = sys.stdout
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if "WEFT_SANITIZED" not in os.environ:
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    os.chdir(os.path.dirname(place))
    at = os.open(place, os.O_WRONLY)
    counts: Counter[str] = Counter()
    warnings.simplefilter("ignore")
    threading.excepthook = sys.unraisablehook = lambda *_: None
    for index in range(first, first + count):
        os.pwrite(at, b"%20d" % index, 0)
        target, call = call_of(seed, index)
        sys.stdout = sys.stderr = io.StringIO()
        try:
            with as_before():
                outcome, wrong = Attempt(target, given or call.lines()).judge()
        finally:
            sys.stdout, sys.stderr = told, sys.__stderr__
        counts[outcome] += 1
        counts[f"{outcome} {target.name}"] += 1
        if wrong:
            print(json.dumps({"index": index, "happened": wrong}), flush=True)
    print(json.dumps({"counts": counts}), flush=True)


if __name__ == "__main__":
    main()
