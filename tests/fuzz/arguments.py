"""The arguments of a call, as lines of Python: plausible ones first, then some of them made hostile."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace

from .plausible import ACTIVATIONS, RECIPES, Draw, Sources
from .targets import BOUNDED, Parameter, Target
from .values import LIES

NUMBERS = (
    "0", "-1", "1", "2", "7", "2**15", "2**31 - 1", "2**31", "-2**31", "2**32", "2**62", "2**63 - 1", "2**63",
    "-2**63", "2**64", "2**64 - 1", "10**30", "1e308", "-1e308", "5e-324", "nan", "inf", "-inf", "-0.0", "0.5",
    "1e-40", "1e30", "True", "1j", "np.float32(2)", "np.int64(-3)", "np.uint8(200)", "np.float16(1)", "np.bool_(1)",
)  # fmt: skip
OBJECTS = (
    "None", "''", "'mean'", "'x\\0y'", "'\\ud800'", "b'bytes'", "b''", "[]", "()", "[[]]", "{}", "[[1, 2], [3]]",
    "[1, 'x']", "loop()", "deep(40)", "deep(5000)", "object()", "int", "len", "...", "slice(None)", "range(3)",
    "(1, 2, 3)", "(1,) * 40", "(-1, -1)", "(2**31, 2**31)", "(2**62, 2, 2)", "(2**63, 1)", "[0, 2**62]", "(1.5, 2)",
    "'cuda'", "'cuda:99'", "'cuda:x'", "'meta'", "'cpu:1'", "'float16'", "'>f4'", "np.float16", "np.dtype('O')",
    "k.DType.__new__(k.DType)", "k.DType(7)", "k.DType(-1)", "k.MemoryFormat(9)", "k.Generator.__new__(k.Generator)",
    "k.Replay.__new__(k.Replay)", "k.Array.__new__(k.Array)", "k.CudaStream.__new__(k.CudaStream)", "k.Array",
    "weft.Tensor", "weft.Tensor.__new__(weft.Tensor)", "weft.float32", "weft.channels_last", "k.Generator(3)", "k",
    "(x for x in (1, 2))", "memoryview(b'1234')", "bytearray(8)", "iter([1])", "set()", "Exception('x')",
    "np.ma.masked", "np.datetime64('2020')", "np.random.default_rng(0)",
)  # fmt: skip
ARRAYS = (
    "A((2, 3), 'float16')", "A((2, 3), 'complex64')", "np.array([None, 1], object)", "structured((3,))",
    "np.zeros(3, 'M8[s]')", "np.zeros(3, 'm8[s]')", "np.array(['a'])", "np.zeros(3, 'S3')", "np.zeros(2, 'V5')",
    "A((2, 3), 'int8')", "A((2, 3), 'uint16')", "A((2, 3), 'uint64')", "A((2, 3), 'longdouble')", "A(())",
    "A((1,) * 9)", "A((2,) * 12)", "A((1,) * 32)", "A((0,))", "A((0, 3))", "A((3, 0, 2))", "A((4, 0, 0, 5))",
    "S((3, 4))", "S((3, 4), 'int64')", "A((5,), 'int64')", "A((65,))", "A((300, 300))", "A((1, 1, 1, 1))",
    "A((2, 3, 5, 5))", "np.zeros((2, 0)).T", "B((2, 3))", "np.matrix([[1., 2.]])",
)  # fmt: skip
TORCH = (
    "torched(A((2, 3)))", "torched(A((2, 3)), 'grad')", "torched(A((2, 3)), 'sparse')",
    "torched(A((2, 3)), 'bfloat16')", "torched(A((2, 3), 'complex64'), 'conj')",
)  # fmt: skip
HUGE = ("huge((2**20, 2**20))", "huge((2**40,))", "huge((2**31, 2**31))", "huge((2**40,), 'bool')")
# Layouts that a function reads without being told, and those that it may refuse.
LAYOUTS = ("fortran", "strided", "apart", "negative", "channels_last", "readonly", "misaligned", "repeated", "K", "T")
STRANGE = ("big_endian", "field", "overlapping", "masked", "subclassed", "torched")

# Views of an address space are given only to what makes a result of that size, or none: the rest walks them, which is
# no fault.
_MAKES_AS_MUCH = re.compile(
    "k\\.(abs|add|sub|mul|div|neg|exp|copy|cast|relu|sigmoid|tanh|cos|square|maximum|where|dropout|empty_like|softmax)|"
    "k\\.Array\\.(reshape|permute|expand|transpose|squeeze|unsqueeze|contiguous|shares_memory|is_contiguous|size)"
)

_SELVES = {
    "k.Array": "K({array})", "k.DType": "weft.float32", "k.MemoryFormat": "weft.channels_last",
    "k.Generator": "k.Generator(7)", "k.Replay": "recorded()", "k.CudaStream": "k.CudaStream.__new__(k.CudaStream)",
    "k.CudaEvent": "k.CudaEvent.__new__(k.CudaEvent)", "weft.Tensor": "T({array}, True)", "nn.Module": "model()",
    "nn.Parameter": "parameters()[0]", "optim.Optimizer": "optimizer()", "weft.data.Dataset": "dataset()",
    "optim.lr_scheduler.LRScheduler": "scheduler()", "weft.data.DataLoader": "loader()",
    "weft.train.Trainer": "trainer()", "weft.train.Callback": "weft.train.Callback()", "optim.SGD": "optimizer()",
    "optim.lr_scheduler.OneCycleLR": "optim.lr_scheduler.OneCycleLR(optimizer(), 0.1, 20, cycle_momentum=False)",
    "optim.lr_scheduler.SequentialLR": "(lambda o: optim.lr_scheduler.SequentialLR(o, "
    "[optim.lr_scheduler.StepLR(o, 2), optim.lr_scheduler.StepLR(o, 3)], [2]))(optimizer())",
    "optim.lr_scheduler.ReduceLROnPlateau": "optim.lr_scheduler.ReduceLROnPlateau(optimizer())",
    "nn.ModuleDict": "nn.ModuleDict({'a': nn.ReLU()})", "nn.ModuleList": "nn.ModuleList([nn.ReLU(), nn.Tanh()])",
    "nn.Sequential": "model()", "weft.data.Subset": "weft.data.Subset(dataset(), [0, 2])",
    "weft.data.ArrayDataset": "weft.data.ArrayDataset(images(), [0] * 6)", "weft.profile": "weft.profile()",
    "weft.train.CSVLogger": "weft.train.CSVLogger('log.csv')", "weft.train.Checkpoint": "weft.train.Checkpoint('c')",
}  # fmt: skip
# The arguments of constructors, where not by the parameter's name alone.
_MODULE_INPUT = {
    "Linear": "(3, 4)", "BatchNorm1d": "(3, 4)", "MLP": "(3, 4)", "Sequential": "(3, 4)", "LeNet5": "(2, 1, 28, 28)",
    "LeNet5_1998": "(2, 1, 28, 28)", "Perceptron": "(3, 4)", "LayerNorm": "(2, 3, 5, 4)",
}  # fmt: skip

# By the parameter's name; several are drawn from.
_BY_NAME: dict[str, tuple[str, ...]] = {
    "in_channels": ("4",), "out_channels": ("2", "4"), "num_features": ("4",), "num_channels": ("4",),
    "num_groups": ("1", "2"), "in_features": ("4",), "out_features": ("3",), "normalized_shape": ("4", "(4,)"),
    "kernel_size": ("1", "2", "3"), "output_size": ("1", "2", "(1, 2)"), "norm_type": ("2.0",), "p": ("0.5", "0.1"),
    "eps": ("1e-5", "1e-3"), "momentum": ("0.1", "0.9"), "lr": ("0.1", "0.01"), "alpha": ("0.5", "0.9"),
    "beta": ("0.5", "1.0"), "beta1": ("0.9",), "beta2": ("0.999",), "betas": ("(0.9, 0.99)",), "axis": ("0", "-1"),
    "dim": ("0", "-1"), "dim0": ("0",), "dim1": ("-1",), "start_dim": ("0",), "end_dim": ("-1",),
    "reduction": ("'mean'", "'sum'", "'none'"), "activation": tuple(map(repr, ACTIVATIONS)), "keepdim": ("True",),
    "dtype": ("'float32'", "'float64'", "weft.float32", "None"), "out_dtype": ("'float32'",), "device": ("'cpu'",),
    "generator": ("k.Generator(3)",), "memory_format": ("weft.contiguous_format", "weft.preserve_format"),
    "seed": ("0", "7", "2**63"), "shape": ("(2, 3)", "(4,)", "()"), "size": ("0",), "n": ("0", "5"), "m": ("3",),
    "model": ("model()",), "module": ("nn.ReLU()",), "modules": ("nn.Linear(4, 3)",), "optimizer": ("optimizer()",),
    "params": ("parameters()",), "parameters": ("parameters()",), "param": ("None",), "defaults": ("{'lr': 0.1}",),
    "closure": ("None", "one"), "hook": ("one",), "function": ("np.shape",), "fn": ("len",), "lr_lambda": ("one",),
    "step_size": ("2",), "gamma": ("0.5",), "milestones": ("[1, 3]",), "T_max": ("4",), "max_lr": ("0.1",),
    "total_steps": ("20",), "schedulers": ("[scheduler()]",), "metrics": ("0.5",),
    "group": ("{'params': parameters()}",), "state_dict": ("model().state_dict()",),
    "state": ("scheduler().state_dict()",), "trainer": ("trainer()",), "train": ("loader()",), "data": ("A((2, 4))",),
    "validation": ("None",), "epochs": ("1",), "loss": ("nn.MSELoss()",), "dataset": ("dataset()",),
    "labels": ("np.zeros(6, 'int64')",), "inputs": ("A((6, 4))", "images()"), "indices": ("[0, 2]",),
    "lengths": ("[2, 4]", "[0.5, 0.5]"), "batch_size": ("2", "4"), "transform": ("None",),
    "transforms": ("[weft.data.RandomHorizontalFlip()]",), "count": ("1", "2"), "degrees": ("10",), "pixels": ("2",),
    "path": ("'file'",), "tensors": ("{'x': T(A((2, 3)))}",), "name": ("'extra'",), "key": ("'a'",), "index": ("0",),
    "target": ("'0'",), "prefix": ("'p'",), "mode": ("True", "'min'"), "memo": ("{}",),
    "row": ("{'loss': 1.0, 'epoch': 1}",), "precision": ("'accurate'", "'direct'", "'fast'"), "iterations": ("3",),
    "arrays": ("[K(A((2, 3)))]",), "low": ("0.0",), "high": ("1.0", "2.0"), "mean": ("0.0",), "std": ("1.0",),
    "value": ("1",), "max_norm": ("1.0",), "clip_value": ("0.5",), "classes": ("3",), "sizes": ("[4, 3, 2]",),
    "nonlinearity": ("'relu'",), "self": ("T(A((2, 3)), True)",), "other": ("2.5", "A((3,))"), "start": ("0", "1"),
    "stop": ("5",), "end": ("5",), "steps": ("4",), "groups": ("1",), "stride": ("1", "2"), "padding": ("0", "1"),
    "dilation": ("1",), "delta": ("1.0",), "margin": ("1.0",), "val": ("0.5",), "gain": ("1.0",), "a": ("0.0",),
    "b": ("1.0",), "places": ("[]",), "before": ("0",), "after": ("1",), "add": ("1",), "on": ("True", "False"),
    "enabled": ("True",), "k": ("1",), "input_size": ("(2, 4)",), "replace": ("None",), "monitor": ("'loss'",),
    "function_": ("one",), "axes": ("(1, 0)",), "metadata": ("{'a': 'b'}",), "outputs": ("T(A(()), True)",),
    "fill_value": ("2",), "gradient": ("A((2, 3))",), "gradients": ("None",), "limits": ("None",),
    "array": ("K(A((2, 3)))",), "kind": ("None",), "error": ("None",), "at": ("None",), "predicted": ("[0, 1, 2]",),
    "stream": ("k.CudaStream.__new__(k.CudaStream)",), "earlier": ("None",),
}  # fmt: skip
# The same, where a name means something else for some targets.
_BY_TARGET: dict[str, dict[str, str]] = {
    "k.Array.reshape": {"shape": "(-1,)"}, "k.Array.permute": {"axes": "tuple(range(self.ndim))[::-1]"},
    "k.Array.expand": {"self": "K(A((1, 3)))", "shape": "(4, 3)"},
    "k.Array.squeeze": {"self": "K(A((1, 3)))", "axis": "0"},
    "k.Array.transpose": {"self": "K(A((2, 3)))", "a": "0", "b": "1"}, "k.Array.unsqueeze": {"axis": "0"},
    "k.Array.contiguous": {"memory_format": "weft.contiguous_format"}, "k.Array.shares_memory": {"other": "self"},
    "k.Array.is_contiguous": {"memory_format": "weft.channels_last"}, "k.Array.__getitem__": {"arg0": "..."},
    "k.Array.__setitem__": {"arg0": "...", "arg1": "1"}, "k.Array.item": {"self": "K(A(()))"},
    "k.Array.__bool__": {"self": "K(A((1,)))"}, "k.Array.__int__": {"self": "K(A((1, 1)))"},
    "k.Array.__float__": {"self": "K(A(()))"}, "k.Replay.call": {"inputs": "[A((2, 3))]"},
    "k.Array.__len__": {"self": "K(A((3,)))"}, "k.Replay.set_inputs": {"inputs": "[K(A((2, 3)))]"},
    "k.Replay.set_outputs": {"outputs": "[K(A((2, 3)))]"}, "k.Generator.set_state": {"state": "(1, 2)"},
    "k.Replay.end": {"self": "(lambda r: (r.begin(), r)[1])(k.Replay())"}, "k.set_num_threads": {"count": "2"},
    "k.arange": {"start": "0", "stop": "5", "step": "1"}, "k.set_isa": {"name": "'reference'"},
    "k.to": {"device": "'cpu'"}, "k.set_default_device": {"device": "'cpu'"}, "k.randint": {"low": "0", "high": "9"},
    "k.randperm": {"n": "5"}, "k.DType": {"value": "0"}, "k.MemoryFormat": {"value": "0"},
    "k.set_site_hook": {"function": "lambda: 1"}, "k.DType.__eq__": {"other": "weft.float64"},
    "k.MemoryFormat.__eq__": {"other": "weft.channels_last"}, "weft.Tensor.item": {"self": "T(A((1,)))"},
    "weft.Tensor.__float__": {"self": "T(A(()))"}, "weft.Tensor.__int__": {"self": "T(A(()))"},
    "weft.Tensor.__bool__": {"self": "T(A((1, 1)))"}, "weft.Tensor.backward": {"gradient": "A(self.shape)"},
    "weft.Tensor.numpy": {"self": "T(A((2, 3)))"}, "weft.Tensor.__dlpack__": {"self": "T(A((2, 3)))"},
    "weft.Tensor.permute": {"dims": "*range(self.ndim)"}, "weft.Tensor.reshape": {"shape": "-1"},
    "weft.Tensor.expand": {"self": "T(A((1, 3)))", "shape": "4, 3"}, "weft.Tensor.squeeze": {"self": "T(A((1, 3)))"},
    "weft.Tensor.transpose": {"self": "T(A((2, 3)), True)"},
    "weft.Tensor.gather": {"self": "T(A((2, 3)))", "dim": "1", "index": "I((2, 2), 3)"},
    "weft.Tensor.index_select": {"self": "T(A((2, 3)))", "dim": "1", "index": "I((4,), 3)"},
    "weft.Tensor.__getitem__": {"self": "T(A((2, 3)), True)", "index": "0"}, "weft.Tensor.to": {"target": "'float64'"},
    "weft.Tensor.__setitem__": {"self": "T(A((2, 3)))", "index": "0", "value": "1"},
    "weft.tensor": {"data": "[1.0, 2.0]"},
    "weft.Tensor.__matmul__": {"self": "T(A((2, 3)), True)", "other": "T(A((3, 2)), True)"},
    "weft.save": {"path": "'file'"}, "weft.Tensor.__rmatmul__": {"self": "T(A((2, 3)), True)", "other": "A((3, 2))"},
    "weft.load": {"path": "good_file()"},
    "weft.Tensor.matmul": {"self": "T(A((2, 3)), True)", "other": "T(A((3, 2)), True)"},
    "weft.from_numpy": {"array": "A((2, 3))"}, "weft.cat": {"tensors": "[T(A((2, 3)), True), T(A((1, 3)))]"},
    "weft.stack": {"tensors": "[T(A((2, 3)), True)]"}, "nn.Module.__call__": {"args": "A((3, 4))"},
    "nn.Module.register_parameter": {"param": "parameters()[0]"},
    "nn.Module.register_buffer": {"tensor": "T(A((2,)))"}, "nn.Module.to": {"args": "'float64'"},
    "nn.Module.get_submodule": {"target": "'0'"}, "nn.Module.get_parameter": {"target": "'0.weight'"},
    "nn.Parameter": {"data": "T(A((2, 3)))"}, "nn.ModuleDict": {"modules": "{'a': nn.ReLU()}"},
    "nn.ModuleDict.update": {"modules": "{'b': nn.ReLU()}"}, "nn.ModuleList": {"modules": "[nn.ReLU()]"},
    "nn.ModuleList.extend": {"modules": "[nn.ReLU()]"},
    "nn.init.uniform_": {"a": "-1.0", "b": "1.0"}, "weft.linspace": {"start": "0.0", "end": "1.0"},
    "optim.Optimizer.load_state_dict": {"state_dict": "self.state_dict()"}, "weft.randint": {"low": "0", "high": "9"},
    "optim.lr_scheduler.OneCycleLR.load_state_dict": {"state": "self.state_dict()"},
    "weft.summary": {"input_size": "(2, 4)"},
    "optim.lr_scheduler.SequentialLR": {
        "schedulers": "[optim.lr_scheduler.StepLR(optimizer, 2), optim.lr_scheduler.StepLR(optimizer, 2)]",
        "milestones": "[2]",
    },
    "optim.lr_scheduler.SequentialLR.load_state_dict": {"state": "self.state_dict()"},
    "optim.lr_scheduler.ReduceLROnPlateau.load_state_dict": {"state": "self.state_dict()"},
    "optim.lr_scheduler.OneCycleLR": {"cycle_momentum": "False"},
    "weft.data.Dataset.gather": {"index": "np.array([0, 2])"},
    "weft.data.Subset.gather": {"index": "np.array([0, 1])"}, "weft.data.RandomCrop": {"size": "(4, 4)"},
    "weft.data.DataLoader.load_state_dict": {"state": "{'seed': 0, 'epoch': 1}"},
    "weft.data.DataLoader.set_epoch": {"epoch": "1"},
    "weft.train.Trainer": {"metrics": "None", "model": "model()"}, "weft.train.Trainer.predict": {"data": "A((3, 4))"},
    "weft.train.Trainer.evaluate": {"data": "loader()"}, "weft.train.Trainer.resume": {"path": "good_checkpoint()"},
    "weft.train.load_checkpoint": {"path": "good_checkpoint()"},
    "weft.train.accuracy": {"logits": "T(A((3, 4)))", "target": "T(I((3,), 4))"},
    "weft.train.CSVLogger": {"path": "'log.csv'"},
    "weft.train.top_k_accuracy": {"logits": "T(A((3, 4)))", "target": "T(I((3,), 4))", "k": "2"},
    "weft.train.confusion_matrix": {"predicted": "T(I((3,), 3))", "target": "T(I((3,), 3))"},
    "weft.train.Checkpoint.load_state_dict": {"state": "self.state_dict()"},
    "weft.train.Checkpoint": {"mode": "'min'"},
    "weft.train.EarlyStopping.load_state_dict": {"state": "self.state_dict()"},
    "weft.train.EarlyStopping.on_fit_begin": {"trainer": "trainer()"},
    "weft.train.Callback.on_batch_end": {"loss": "1.0"}, "weft.autograd.backward": {"tensors": "T(A(()), True)"},
    "weft.autograd.gradcheck": { "function": "lambda t: t * 2", "inputs": "[T(A((2, 3), 'float64'), True)]"},

    "weft.models.MLP": {"activation": "nn.ReLU"}, "weft.models.Perceptron": {"inputs": "4"},
    "weft.models.LeNet5": {"classes": "10"}, "weft.models.BasicBlock": {"channels": "4", "stride": "1"},
    "weft.models.BasicBlock.forward": {"x": "T(A((2, 4, 5, 5)))"}, "weft.enable_grad.__call__": {"function": "len"},
    "weft.no_grad.__call__": {"function": "len"}, "nn.Softmax": {"dim": "-1"}, "nn.LogSoftmax": {"dim": "-1"},
    "nn.init.constant_": {"val": "0.5"}, "weft.profile.export_chrome_trace": {"path": "'trace.json'"},
    "k.stop_profile": {}, "k.Replay": {"device": "None"}, "weft.set_grad_enabled": {"mode": "True"},
    "k.conv2d_relu_max_pool2d": {"kernel_size": "2"}, "F.conv2d_relu_max_pool2d": {"kernel_size": "2"},
    "k.conv2d_relu_max_pool2d_backward": {"kernel_size": "2"}, "nn.init.xavier_uniform_": {"tensor": "T(A((3, 2)))"},
    "weft.Tensor": {"array": "K(A((2, 3)))"}, "nn.Sequential": {"modules": "nn.Linear(4, 3), nn.ReLU()"},
    "nn.ModuleList.insert": {"index": "0"}, "k.Array.__array__": {"dtype": "None", "copy": "None"},
    "weft.Tensor.__array__": {"dtype": "None"}, "weft.Tensor.cuda": {"index": "0"}, "k.full": {"value": "1"},
    "k.fill": {"value": "1"},  "k.Array.__dlpack__": {},
    "weft.Tensor.register_hook": {"hook": "lambda g: g * 2"},
    "nn.BCELoss.forward": {"input": "T(P((3, 4)))", "target": "T(P((3, 4)))"}, "weft.where": {},
    "weft.full_like": {"fill_value": "2"}, "weft.arange": {"start": "0", "end": "5", "step": "1"},
}  # fmt: skip


_BY_TARGET |= {
    "nn.BatchNorm1d.forward_relu": {"input": "T(A((3, 4)), True)", "residual": "None"},
    "weft.autograd.grad": {"outputs": "(lambda x: [(x * 2).sum(), x])(T(A((2, 3)), True))", "inputs": "outputs.pop()"},
    "weft.data.Dataset": {"inputs": "images()", "labels": "np.zeros(6, 'int64')"},
    "weft.data.RandomCrop.output_size": {"size": "(8, 8)"},
    "weft.data.RandomCrop.matrices": {"size": "(8, 8)"},
    "weft.train.EarlyStopping": {"mode": "'min'"},
    "weft.train.EarlyStopping.on_epoch_end": {"self": "weft.train.EarlyStopping('loss')"},
    "nn.Module.apply": {"fn": "repr"},
    "k.Replay.begin": {"self": "k.Replay()"},
    "k.Replay.watch": {"self": "k.Replay()"},
    "weft.Tensor.copy_": {"self": "T(A((2, 3)))", "source": "A((3,))"},
    "weft.enable_grad.__exit__": {"self": "(lambda c: (c.__enter__(), c)[1])(weft.enable_grad())"},
    "weft.profile.__exit__": {"self": "weft.profile().__enter__()"},
    **{
        f"weft.Tensor.{name}": {"self": "T(A((2, 3)))", "other": "A((3,))"}
        for name in ("__iadd__", "__isub__", "__imul__", "__itruediv__", "add_", "sub_", "mul_", "div_")
    },
}


@dataclass(frozen=True)
class Call:
    """A target, and its arguments as lines in the order in which they are evaluated."""

    target: str
    arguments: tuple[tuple[str, str, str], ...]  # name, source, kind of parameter
    then: str = ""  # what is done with the result: "", "forward(...)" or "use(...)"
    hostile: bool = False  # an option or an object was drawn from the hostile ones

    def lines(self) -> list[str]:
        """The call as Python."""
        found = [f"{name} = {source}" for name, source, kind in self.arguments if kind != "rest"]
        spread = [
            source if kind == "rest" else name
            for name, source, kind in self.arguments
            if kind in ("positional", "rest")
        ]
        spread += [f"{name}={name}" for name, _, kind in self.arguments if kind == "keyword"]
        call = f"{self.target}({', '.join(spread)})"
        return [*found, f"{self.then.replace('(made', '(' + call)}" if self.then else call]

    def without(self, at: int) -> Call:
        return replace(self, arguments=self.arguments[:at] + self.arguments[at + 1 :])

    def having(self, at: int, source: str) -> Call:
        name, _, kind = self.arguments[at]
        return replace(self, arguments=(*self.arguments[:at], (name, source, kind), *self.arguments[at + 1 :]))


def draw_call(rng: random.Random, target: Target) -> Call:
    """The arguments of one call."""
    d = Draw(rng, target)
    known = _known(d)
    arguments = []
    positional = True
    for p in target.parameters:
        source = known.get(p.name)
        if source is None and not p.required and rng.random() > 0.15:
            positional = positional and p.kind == "positional" and False
            continue
        if source is None:
            source = _by_name(d, p)
        # A parameter after one that was left out is given by its name.
        kind = p.kind if p.kind != "positional" else "positional" if positional else "keyword"
        arguments.append((p.name, source, kind))
    call = Call(target.name, tuple(arguments), _then(d, target))
    mood = rng.random()
    if mood < 0.5 or not arguments:
        return call
    if mood < 0.7:
        return _laid_out(rng, call)
    return _made_hostile(rng, _laid_out(rng, call) if rng.random() < 0.3 else call, target)


def _known(d: Draw) -> Sources:
    """What recipes say, under the names that the target's parameters have."""
    target = d.target
    known: Sources = {}
    for pattern, function in RECIPES:
        if pattern.fullmatch(target.name):
            known = function(d)
            break
    names = {p.name for p in target.parameters}
    for ours, other in (("x", "input"), ("axis", "dim"), ("logits", "input"), ("arrays", "tensors"), ("input", "x")):
        if ours in known and ours not in names and other in names and (other not in known or ours == "x"):
            known[other] = known.pop(ours)
    if not target.is_kernel and target.name.startswith("F."):
        known = {k: f"T({v}, {d.maybe()})" if v[:2] in ("A(", "B(", "P(", "I(", "S(") else v for k, v in known.items()}
    known |= _BY_TARGET.get(target.name, {})
    if target.owner and "self" in names and "self" not in known:
        known["self"] = _self(d, target.owner)
        if target.name.endswith(".forward") and "input" in names and "input" not in known:
            known["input"] = f"T(A({_MODULE_INPUT.get(target.owner.split('.')[-1], '(2, 4, 6, 6)')}), True)"
            if "target" in names:
                known |= {"input": "T(A((3, 4)), True)", "target": "T(A((3, 4)))"}
            if "CrossEntropy" in target.name or "NLL" in target.name:
                known["target"] = "T(I((3,), 4))"
    return {name: source for name, source in known.items() if name in names}


def _self(d: Draw, owner: str) -> str:
    d.shape = d.shape[:4]
    if owner in _SELVES:
        return _SELVES[owner].replace("{array}", d.array(d.shape))
    if owner.startswith(("weft.enable_grad", "weft.no_grad")):
        return f"{owner}()"
    if owner == "weft.set_grad_enabled":
        return "weft.set_grad_enabled(True)"
    from .targets import of_python

    made = next((t for t in of_python() if t.makes == owner), None) if owner not in _CONSTRUCTORS else None
    if made is not None:
        given = {p.name: (_BY_TARGET.get(owner, {}).get(p.name) or _BY_NAME.get(p.name, ("None",))[0], p)
                 for p in made.parameters if p.required}  # fmt: skip
        _CONSTRUCTORS[owner] = f"{owner}({', '.join(f'{name}={source}' for name, (source, p) in given.items())})"
    return _CONSTRUCTORS.get(owner, "None")


_CONSTRUCTORS: dict[str, str] = {}


def _then(d: Draw, target: Target) -> str:
    if target.makes is None:
        return ""
    short = target.short
    if target.name.startswith("nn.") and short.endswith("Loss"):
        return (
            "forward(made, A((3, 4)), T(I((3,), 4)))"
            if short[:3] in ("Cro", "NLL")
            else "forward(made, P((3, 4)), P((3, 4)))"
        )
    if target.name.startswith(("nn.", "weft.models.")) and short not in (
        "Module", "ModuleDict", "ModuleList", "Parameter",
    ):  # fmt: skip
        return f"forward(made, A({_MODULE_INPUT.get(short, '(2, 4, 6, 6)')}))"
    return "use(made)"


def _by_name(d: Draw, p: Parameter) -> str:
    """A source for a parameter of which no recipe knows."""
    a = p.annotation
    if "ArrayLike" in a or a == "Array" or a == "Array | None":
        if "Sequence" in a:
            return f"[{d.array(d.shape)}]"
        return d.array(d.shape) if a.startswith("ArrayLike") else f"K({d.array(d.shape)})"
    if p.name in ("input", "tensor", "x", "logits") and p.name not in ("data",):
        return f"T({d.array(d.shape or (3,))}, {d.maybe(0.3)})"
    if p.name in ("axis", "dim") and d.shape:
        return str(d.axis())
    if p.name in ("memory_format",) or (p.name == "dtype" and "float" not in d.dtype):
        return d.rng.choice(_BY_NAME[p.name])
    if p.name in _BY_NAME and not (p.name in ("a", "b", "value", "mean", "std") and "Array" in a):
        return d.rng.choice(_BY_NAME[p.name])
    if a.startswith("bool"):
        return d.rng.choice(("True", "False"))
    if a.startswith(("int", "Ints", "typing.SupportsIndex")):
        return d.rng.choice(("0", "1", "2"))
    if a.startswith("float"):
        return d.rng.choice(("0.0", "0.5", "1.0"))
    if a.startswith("str"):
        return "'x'"
    return d.rng.choice(("1", "T(A((2, 3)))", "None"))


# --- hostile ---


def _is_array(source: str) -> bool:
    return source[:2] in ("A(", "P(", "I(", "S(", "E(") or source[:4] in ("T(A(", "K(A(", "K(E(", "T(I(", "T(P(")


def _inner(source: str) -> str:
    """A((2, 3)) of T(A((2, 3)), True)."""
    if source[:2] not in ("T(", "K("):
        return source
    inside = source[2:-1]
    return inside[:-6] if inside.endswith(", True") else inside[:-7] if inside.endswith(", False") else inside


def _laid_out(rng: random.Random, call: Call) -> Call:
    """Some arrays in another layout; the numbers stay."""
    for at, (_, source, _) in enumerate(call.arguments):
        if _is_array(source) and rng.random() < 0.6:
            layout = rng.choice(LAYOUTS if rng.random() < 0.8 else STRANGE)
            inner = _inner(source) if layout != "subclassed" else source
            call = call.having(at, f"{layout}({inner})")
    return call


def _made_hostile(rng: random.Random, call: Call, target: Target) -> Call:
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(call.arguments))
        name, source, _ = call.arguments[at]
        call = replace(call.having(at, _hostile(rng, target, name, source)), hostile=True)
    extra = [p for p in target.parameters if p.name not in {a[0] for a in call.arguments} and p.kind != "rest"]
    if extra and rng.random() < 0.3:
        p = rng.choice(extra)
        source = _hostile(rng, target, p.name, "None")
        call = replace(call, arguments=(*call.arguments, (p.name, source, "keyword")), hostile=True)
    return call


def _hostile(rng: random.Random, target: Target, name: str, source: str) -> str:
    most = BOUNDED.get((target.name, name))
    if most is not None:
        return rng.choice(("0", "-1", "-2**63", "2**63", "None", "1.5", str(most)))
    kind = rng.random()
    if kind < 0.03 and _MAKES_AS_MUCH.fullmatch(target.name):
        return rng.choice(HUGE)
    if kind < 0.35:
        return rng.choice(NUMBERS)
    if kind < 0.62:
        return rng.choice(OBJECTS)
    if kind < 0.80:
        chosen = rng.choice(ARRAYS)
        return f"{rng.choice((*LAYOUTS, *STRANGE))}({chosen})" if rng.random() < 0.2 else chosen
    if kind < 0.815:
        return rng.choice(TORCH)
    if kind < 0.90:
        return f"lying({rng.choice(LIES)!r})"
    if kind < 0.95:
        return rng.choice(("({0}, {0})", "[{0}]", "[{0}] * 3")).format(
            rng.choice((*NUMBERS, f"lying({rng.choice(LIES)!r})"))
        )
    return f"big_endian({source})" if _is_array(source) else rng.choice(NUMBERS)
