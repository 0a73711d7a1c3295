"""Arguments that get past the first check: shapes that fit one another, drawn together.

A recipe gives the sources of some parameters by the operation's name; the others are drawn by their own name, or by
their annotation. A new operation needs no recipe: without one all its arrays have one shape.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

from .targets import Target

Sources = dict[str, str]
FLOATS = ("float32", "float64")
DTYPES = ("float32", "float64", "int64", "int32", "uint8", "bool")
ACTIVATIONS = ("relu", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu", "leaky_relu", "elu", "softplus", "none")
RECIPES: list[tuple[re.Pattern[str], Callable[[Draw], Sources]]] = []


def recipe(pattern: str) -> Callable[[Callable[[Draw], Sources]], Callable[[Draw], Sources]]:
    """Registers a recipe for the operations whose whole name matches."""

    def register(function: Callable[[Draw], Sources]) -> Callable[[Draw], Sources]:
        RECIPES.append((re.compile(pattern), function))
        return function

    return register


class Draw:
    """The choices of one call: few sizes, one dtype."""

    def __init__(self, rng: random.Random, target: Target) -> None:
        self.rng, self.target = rng, target
        self.dtype = rng.choices((*DTYPES, "bf16"), (70, 12, 4, 3, 3, 3, 5))[0]
        rank = rng.choices(range(6), (6, 18, 30, 20, 20, 6))[0]
        sizes = (0, 1, 2, 3, 4, 5, 7, 8, 16, 17, 33)
        self.shape = tuple(rng.choices(sizes, (3, 12, 15, 15, 12, 10, 10, 10, 6, 4, 3), k=rank))
        self.n, self.c, self.g = rng.choice((1, 2, 3)), rng.choice((1, 2, 3, 4, 8)), 1
        self.h, self.w = rng.choice((1, 3, 4, 5, 8, 9, 12)), rng.choice((1, 3, 4, 6, 7, 8, 16))
        self.k = rng.choice((1, 2, 4, 6))

    def float_dtype(self) -> str:
        self.dtype = self.dtype if self.dtype in FLOATS else "float32"
        return self.dtype

    def seed(self) -> int:
        return self.rng.randrange(1000)

    def array(self, shape: Any, dtype: str | None = None) -> str:
        dtype = dtype or self.dtype
        if dtype == "bf16":
            return f"B({tuple(shape)}, {self.seed()})"
        if self.rng.random() < 0.04 and dtype != "bool":
            return f"S({tuple(shape)}, {dtype!r}, {self.seed()})"
        return f"A({tuple(shape)}, {dtype!r}, {self.seed()})"

    def positive(self, shape: Any, dtype: str | None = None) -> str:
        return f"P({tuple(shape)}, {dtype or self.dtype!r}, {self.seed()})"

    def index(self, shape: Any, high: int, dtype: str | None = None) -> str:
        return f"I({tuple(shape)}, {high}, {dtype or self.rng.choice(('int64', 'int64', 'int32'))!r}, {self.seed()})"

    def maybe(self, chance: float = 0.5) -> bool:
        return self.rng.random() < chance

    def partner(self) -> tuple[int, ...]:
        """A shape that broadcasts with the base shape."""
        shape = [1 if self.maybe(0.2) else n for n in self.shape]
        return tuple(shape[self.rng.randrange(len(shape) + 1) if self.maybe(0.2) else 0 :])

    def axis(self, shape: Any = None) -> int:
        rank = len(self.shape if shape is None else shape)
        return self.rng.randrange(-rank, rank) if rank else 0

    def no_scalar(self) -> None:
        if not self.shape:
            self.shape = (3,)


# --- elementwise, reductions, shapes ---

_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor")


def _out(d: Draw, shape: tuple[int, ...], dtype: str, *same: str) -> Sources:
    if not d.maybe(0.35) or dtype == "bf16":
        return {}
    return {"out": d.rng.choice([f"E({shape}, {dtype!r})", f"K(E({shape}, {dtype!r}))", *same])}


@recipe("k\\.(add|sub|mul|div|pow|maximum|minimum|floor_divide|remainder|eq|ne|l[te]|g[te]|logical_(and|or|xor))")
def _binary(d: Draw) -> Sources:
    compares = d.target.short in _COMPARISONS
    if d.dtype == "bool" and not compares:
        d.dtype = "int32"
    number = d.maybe(0.15)
    partner = d.partner()
    b = d.rng.choice(("2", "-3", "0", "0.5", "1.5")) if number else d.array(partner)
    if number and ("." in b) and d.dtype.startswith(("int", "uint")):
        b = "2"
    got = "bool" if compares else "float32" if d.target.short == "div" and d.dtype in DTYPES[2:] else d.dtype
    return {"a": d.array(d.shape), "b": b, **_out(d, d.shape, got, *(["a"] if got == d.dtype else []))}


@recipe("k\\.(abs|ceil|floor|round|sign|neg|square|isnan|isfinite|logical_not)")
def _unary(d: Draw) -> Sources:
    tests = d.target.short.startswith(("is", "logical"))
    if d.dtype == "bool" and not tests:
        d.dtype = "uint8"
    return {"x": d.array(d.shape), **_out(d, d.shape, "bool" if tests else d.dtype, *([] if tests else ["x"]))}


@recipe("k\\.(cos|sin|exp|expm1|log|log1p|sqrt|rsqrt|reciprocal|erf)")
def _unary_float(d: Draw) -> Sources:
    d.dtype = d.dtype if d.dtype == "bf16" else d.float_dtype()
    return {"x": d.array(d.shape), **_out(d, d.shape, d.dtype, "x")}


@recipe("k\\.clip")
def _clip(d: Draw) -> Sources:
    d.dtype = "uint8" if d.dtype == "bool" else d.dtype
    bounds = {"min": d.rng.choice(("None", "0", "-0.5")), "max": d.rng.choice(("None", "1", "2.5"))}
    return {"x": d.array(d.shape), **bounds, **_out(d, d.shape, d.dtype, "x")}


@recipe("(k|F)\\.(relu|sigmoid|tanh|gelu|gelu_tanh|silu|leaky_relu|elu|softplus|step|softmax|log_softmax|normalize)")
def _activation(d: Draw) -> Sources:
    d.dtype = d.dtype if d.dtype == "bf16" and "max" not in d.target.short else d.float_dtype()
    d.no_scalar()
    return {"x": d.array(d.shape)}


@recipe("k\\.(log_)?softmax_backward")
def _softmax_backward(d: Draw) -> Sources:
    d.float_dtype()
    d.no_scalar()
    return {"dout": d.array(d.shape), "out": d.positive(d.shape), "axis": str(d.axis())}


@recipe("k\\.activation_backward")
def _activation_backward(d: Draw) -> Sources:
    d.float_dtype()
    kind = repr(d.rng.choice(ACTIVATIONS[:-1]))
    return {"kind": kind, "dout": d.array(d.shape), "saved": d.array(d.shape), "alpha": "0.5"}


@recipe("k\\.(sum|mean|prod|var|max|min|any|all|argmax|argmin|sum_squares)")
def _reduction(d: Draw) -> Sources:
    if d.target.short in ("mean", "var", "sum_squares") and d.dtype not in (*FLOATS, "bf16"):
        d.dtype = "float32"
    axes = d.rng.sample(range(len(d.shape)), d.rng.randrange(len(d.shape) + 1))
    several = f"{tuple(axes)}" if axes and not d.target.short.startswith("arg") else "None"
    return {"x": d.array(d.shape), "axis": d.rng.choice(("None", several, str(d.axis()) if d.shape else "None"))}


@recipe("(k\\.(cat|stack)|weft\\.(cat|stack))")
def _joined(d: Draw) -> Sources:
    d.no_scalar()
    count = d.rng.randrange(1, 4)
    arrays = ", ".join(d.array(d.shape) for _ in range(count))
    return {"arrays": f"[{arrays}]", "axis": str(d.axis())}


@recipe("k\\.pad")
def _padded(d: Draw) -> Sources:
    widths = [tuple(d.rng.choice((0, 1, 2, -1)) if n > 3 else d.rng.randrange(3) for n in d.shape) for _ in range(2)]
    return {"x": d.array(d.shape), "before": f"{widths[0]}", "after": f"{widths[1]}"}


@recipe("F\\.pad")
def _padded_as_torch(d: Draw) -> Sources:
    d.no_scalar()
    return {"input": d.array(d.shape), "pad": d.rng.choice(("(1, 1)", "(0, 2)", "(2, 0)")), "value": "0.5"}


@recipe("(k|weft)\\.where")
def _where(d: Draw) -> Sources:
    a, b = ("input", "other") if d.target.name == "weft.where" else ("a", "b")
    return {"condition": d.array(d.partner(), "bool"), a: d.array(d.shape), b: d.array(d.partner())}


@recipe("k\\.(matmul|gemm)|weft\\.matmul")
def _matmul(d: Draw) -> Sources:
    d.dtype = d.dtype if d.dtype == "bf16" else d.float_dtype()
    m, n, inner = (d.rng.choice((1, 2, 3, 5, 8, 17, 33)) for _ in range(3))
    batch = (d.n,) if d.maybe(0.3) else ()
    a, b = d.array((*batch, m, inner)), d.array((*batch, inner, n))
    if d.target.short != "gemm":
        return {"a": a, "b": b} if d.target.is_kernel else {"input": a, "other": b}
    more = {}
    if d.maybe(0.3):
        a, more["transpose_a"] = d.array((*batch, inner, m)), "True"
    if d.maybe(0.3):
        more["c"], more["beta"] = d.array((*batch, m, n) if d.maybe() else (n,)), "0.5"
    if d.maybe(0.3):
        more["bias"] = d.array((n,))
    if d.maybe(0.3):
        more["activation"] = repr(d.rng.choice(ACTIVATIONS))
    return {"a": a, "b": b, **more}


# --- layers ---


def _option(d: Draw, default: str, *others: str) -> str:
    return d.rng.choice(others) if d.maybe(0.3) else default


class _Convolution:
    """A convolution whose output exists."""

    def __init__(self, d: Draw, square_pool: bool = False) -> None:
        d.float_dtype()
        rng = d.rng
        self.r, self.s = (rng.choices((1, 2, 3, 5), (3, 1, 5, 2))[0] for _ in range(2))
        self.stride, self.dilation = rng.choices((1, 2, 3), (6, 2, 1))[0], rng.choices((1, 2), (6, 1))[0]
        self.pad = rng.choices((0, 1, 2), (4, 4, 1))[0]
        self.groups = d.c if d.maybe(0.15) else 1
        d.k = d.k * self.groups
        low = (self.r - 1) * self.dilation + 1, (self.s - 1) * self.dilation + 1
        extra = 2 if square_pool else 0
        d.h, d.w = max(d.h, low[0] + extra * self.stride), max(d.w, low[1] + extra * self.stride)
        self.p = (d.h + 2 * self.pad - low[0]) // self.stride + 1
        self.q = (d.w + 2 * self.pad - low[1]) // self.stride + 1
        self.x, self.weight = (d.n, d.c, d.h, d.w), (d.k, d.c // self.groups, self.r, self.s)
        self.out = (d.n, d.k, self.p, self.q)

    def options(self) -> Sources:
        given = {"stride": self.stride, "padding": self.pad, "dilation": self.dilation, "groups": self.groups}
        return {k: str(v) for k, v in given.items() if v != (0 if k == "padding" else 1)}


@recipe("(k|F)\\.conv2d(_backward_\\w+|_output_size|_activation)?")
def _conv2d(d: Draw) -> Sources:
    c = _Convolution(d)
    x, weight, dout = d.array(c.x), d.array(c.weight), d.array(c.out)
    name, options = d.target.short, c.options()
    if name == "conv2d_backward_bias":
        return {"dout": dout}
    if name == "conv2d_backward_input":
        return {"dout": dout, "weight": weight, "input_size": f"{c.x}", **options}
    if name == "conv2d_backward_weight":
        return {"dout": dout, "x": x, "weight_size": f"{c.weight}", **options}
    if name == "conv2d_output_size":
        return {"input_size": f"{c.x}", "weight_size": f"{c.weight}", **options}
    bias = {"bias": d.array((d.k,))} if d.maybe() else {}
    return {"x": x, "weight": weight, **bias, **options, "activation": repr(d.rng.choice(("relu", "tanh")))}


@recipe("(k|F)\\.conv2d_relu_max_pool2d(_backward)?")
def _conv2d_pool(d: Draw) -> Sources:
    c = _Convolution(d, square_pool=True)
    x, weight, options = d.array(c.x), d.array(c.weight), c.options()
    if d.target.short.endswith("backward"):
        out = (d.n, d.k, c.p // 2, c.q // 2)
        return {"dout": d.array(out), "winner": d.index(out, 4, "uint8"), "x": x, "weight": weight, **options}
    return {"x": x, "weight": weight, "bias": d.array((d.k,)), **options}


@recipe("(k|F)\\.(max|min|avg|lp)_pool2d(_backward)?")
def _pool2d(d: Draw) -> Sources:
    d.float_dtype()
    size, name = d.rng.choice((1, 2, 3)), d.target.short
    stride, pad = (d.rng.choice((1, 2, 3)), d.rng.choice((0, size // 2))) if d.maybe() else (size, 0)
    pad = 0 if name.startswith("lp") else pad
    d.h, d.w = max(d.h, size), max(d.w, size)
    x = (d.n, d.c, d.h, d.w)
    out = (d.n, d.c, (d.h + 2 * pad - size) // stride + 1, (d.w + 2 * pad - size) // stride + 1)
    given = {"kernel_size": str(size), "stride": str(stride), "padding": str(pad), "x": d.array(x)}
    given |= {"norm_type": d.rng.choice(("2.0", "1.0", "3")), "dout": d.array(out), "input_size": f"{x}"}
    given["index"] = d.index(out, d.h * d.w, "int32")
    if name == "lp_pool2d_backward":
        given |= {"x": d.positive(x), "out": d.positive(out)}
    return given


@recipe("(k|F)\\.adaptive_(max|avg)_pool2d(_backward)?")
def _adaptive(d: Draw) -> Sources:
    d.float_dtype()
    x, out = (d.n, d.c, d.h, d.w), (d.rng.randrange(1, 4), d.rng.randrange(1, 4))
    dout = d.array((d.n, d.c, *out))
    return {"x": d.array(x), "output_size": f"{out}", "dout": dout, "input_size": f"{x}"}


@recipe("(k|F)\\.(batch_norm(_relu)?|group_norm|instance_norm)(_backward)?")
def _channels_norm(d: Draw) -> Sources:
    d.float_dtype()
    x = (d.n + 1, d.c, d.h, d.w) if d.maybe(0.8) else (d.n + 1, d.c)
    if "instance" in d.target.short:
        x = (d.n + 1, d.c, d.h + 1, d.w)
    per = (d.c,)
    groups = d.rng.choice([g for g in (1, 2, 4, 8) if d.c % g == 0])
    stats = (x[0] * groups,) if "group" in d.target.short else per
    given = {"x": d.array(x), "dout": d.array(x), "mean": d.array(stats), "inv_std": d.positive(stats)}
    given |= {"num_groups": str(groups), "training": "True", "running_mean": "None", "running_var": "None"}
    for name in ("weight", "bias"):
        if d.maybe(0.7):
            given[name] = d.array(per)
    if d.maybe() and not d.target.short.endswith("backward"):
        given |= {
            "running_mean": d.array(per),
            "running_var": d.positive(per),
            "training": d.rng.choice(("True", "False")),
        }
    if d.maybe(0.2):
        given["residual"] = d.array(x)
    return given


@recipe("(k|F)\\.layer_norm(_backward)?")
def _layer_norm(d: Draw) -> Sources:
    d.float_dtype()
    d.shape = tuple(max(n, 1) for n in d.shape) or (3,)
    split = d.rng.randrange(len(d.shape))
    rows, last = d.shape[:split], d.shape[split:]
    count = 1
    for n in rows:
        count *= n
    given = {"x": d.array(d.shape), "dout": d.array(d.shape), "normalized_shape": f"{last}"}
    given |= {"mean": d.array((count,)), "inv_std": d.positive((count,))}
    if d.maybe(0.7):
        given |= {"weight": d.array(last), "bias": d.array(last)}
    return given


@recipe("(k|F)\\.linear(_backward|_activation)?")
def _linear(d: Draw) -> Sources:
    d.float_dtype()
    rows = d.shape[:2] if d.maybe() else (d.n,)
    i, o = d.rng.choice((1, 3, 8, 17)), d.rng.choice((1, 2, 5, 16))
    given = {"x": d.array((*rows, i)), "weight": d.array((o, i)), "dout": d.array((*rows, o))}
    if d.maybe(0.7) and "backward" not in d.target.short:
        given |= {"bias": d.array((o,)), "activation": repr(d.rng.choice(ACTIVATIONS))}
    elif d.maybe():
        given |= {"y": d.array((*rows, o)), "activation": repr(d.rng.choice(ACTIVATIONS[:3]))}
    return given


# --- losses, indices, random numbers ---


@recipe("(k|F)\\.(mse|l1|huber|hinge)_loss|(k|F)\\.binary_cross_entropy(_with_logits)?|k\\.pointwise_loss_backward")
def _loss(d: Draw) -> Sources:
    d.float_dtype()
    reduction = d.rng.choice(("mean", "sum", "none"))
    draw = d.positive if "cross" in d.target.short else d.array
    given = {"input": draw(d.shape), "target": draw(d.shape), "reduction": repr(reduction)}
    given |= {"kind": repr(d.rng.choice(("mse", "l1", "huber", "bce_with_logits", "hinge")))}
    return given | {"dout": d.array(d.shape if reduction == "none" else ())}


@recipe("(k|F)\\.(cross_entropy|nll_loss)(_backward)?")
def _cross_entropy(d: Draw) -> Sources:
    d.float_dtype()
    shape = (d.n, d.c + 1) if d.maybe(0.7) else (d.n, d.c + 1, d.h)
    targets = (shape[0], *shape[2:])
    reduction = d.rng.choice(("mean", "sum", "none"))
    given = {"logits": d.array(shape), "input": d.array(shape), "reduction": repr(reduction)}
    given |= {"target": d.index(targets, d.c + 1), "dlogits": f"K({d.array(shape)})"}
    if d.maybe(0.2) and d.target.short == "cross_entropy":
        given["target"] = d.positive(shape)
    if d.maybe(0.2):
        given["weight"] = d.positive((d.c + 1,))
    return given | {"dout": d.array(targets if reduction == "none" else ())}


@recipe("k\\.(gather|scatter_add|index_select|index_add|one_hot)|F\\.one_hot")
def _index(d: Draw) -> Sources:
    d.shape = tuple(max(n, 1) for n in d.shape) or (4,)
    name = d.target.short
    if name == "one_hot":
        return {"index": d.index(d.shape, 5), "tensor": d.index(d.shape, 5), "num_classes": _option(d, "-1", "5", "9")}
    if name in ("scatter_add", "index_add") and d.dtype in ("bool", "bf16"):
        d.dtype = "float32"
    axis = d.axis()
    count = d.rng.randrange(1, 6)
    other = list(d.shape)
    other[axis] = count
    index = d.index(other if name in ("gather", "scatter_add") else (count,), d.shape[axis])
    if name in ("gather", "index_select"):
        return {"x": d.array(d.shape), "axis": str(axis), "index": index}
    return {"out": d.array(d.shape), "axis": str(axis), "index": index, "x": d.array(other)}


@recipe("k\\.(gather_images|warp_images)")
def _images(d: Draw) -> Sources:
    count = d.rng.randrange(0, 5)
    given = {"images": f"images(6, {d.c}, {d.h}, {d.w})", "index": d.index((count,), 6, "int64")}
    given |= {"scale": d.positive((d.c,), "float32"), "shift": d.array((d.c,), "float32")}
    return given | {"theta": d.array((count, 2, 3), "float64"), "output_size": f"({d.h}, {d.w})"}


@recipe("k\\.(sgd|adam|adagrad|rmsprop)_step")
def _step(d: Draw) -> Sources:
    d.float_dtype()
    given = {name: d.array(d.shape) for name in ("param", "grad", "first_moment")}
    given |= {name: d.positive(d.shape) for name in ("second_moment", "square_sum", "square_average")}
    given |= {"lr": "np.array(0.1)", "step": "np.array(3)"}
    if d.maybe(0.3) and d.target.short in ("sgd_step", "rmsprop_step"):
        given |= {"momentum_buffer": d.array(d.shape), "momentum": "0.9"}
    return given


@recipe("k\\.clip_grad_norm")
def _clip_grad_norm(d: Draw) -> Sources:
    d.float_dtype()
    return {"grads": f"[{d.array(d.shape)}, {d.array((3,))}]", "max_norm": d.rng.choice(("1.0", "inf", "0.1"))}


@recipe("k\\.(fill|fill_\\w+|copy_into|write_now)")
def _fill(d: Draw) -> Sources:
    name = d.target.short
    if name == "write_now":
        return {"out": "K(E((3,), 'float64'))", "values": "[1, 2.5, 3]"}
    if name.startswith("fill_"):
        d.float_dtype()
    d.dtype = "float32" if d.dtype == "bf16" else d.dtype
    return {
        "out": f"E({d.shape}, {d.dtype!r})",
        "x": d.array(d.partner()),
        "value": _option(d, "1", "0", "2.5", "True"),
    }


@recipe(
    "k\\.(empty|zeros|ones|full|normal|uniform|bernoulli|randint)|weft\\.(empty|zeros|ones|full|rand|randn|randint)"
)
def _created(d: Draw) -> Sources:
    return {"shape": f"{d.shape}", "value": "2", "fill_value": "2", "p": "0.5", "low": "0", "high": "9"}


@recipe("k\\.bfloat16_\\w+")
def _bits(d: Draw) -> Sources:
    return {"x": f"B({d.shape})", "bits": f"A({d.shape}, 'uint16')"}


@recipe("k\\.dropout(_backward)?|F\\.dropout")
def _dropout(d: Draw) -> Sources:
    d.float_dtype()
    return {"x": d.array(d.shape), "dout": d.array(d.shape), "mask": d.index(d.shape, 2, "uint8"), "p": "0.5"}


@recipe("k\\.(signature|signature_of_tensors|attributes_are|set_destinations)")
def _lists(d: Draw) -> Sources:
    arrays = f"[K({d.array(d.shape)}), K({d.array((2,))})]"
    tensors = f"(T({d.array(d.shape)}), T({d.array((2,))}))"
    given = {"arrays": arrays, "places": arrays, "tensor": "weft.Tensor"}
    return given | {"objects": tensors if "tensors" in d.target.short else "[np, np]", "names": "['pi', 'e']",
                    "values": "[np.pi, np.e]"}  # fmt: skip
