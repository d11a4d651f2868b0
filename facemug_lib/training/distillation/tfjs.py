"""A TensorFlow.js graph model, read and run in PyTorch.

The parsing, age and emotion networks that teach our own expert are published only as tfjs graph models. This module
reads ``model.json`` with its weight shards and executes the graph; it knows the few operations those networks use
and refuses any other by name. The semantics is TensorFlow's (NHWC axes, ``SAME`` padding, legacy bilinear
resizing); 4-D tensors are held NCHW inside, because that is what PyTorch convolves.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.errors import FacemugError

NHWC_TO_NCHW = (0, 2, 3, 1)  # where an NHWC axis lies in an NCHW tensor
CONVOLUTIONS = {"Conv2D", "_FusedConv2D"}
DEPTHWISE = {"DepthwiseConv2dNative", "FusedDepthwiseConv2dNative"}
SILENT = {"Const", "Placeholder"}


class GraphModel(nn.Module):
    """A tfjs graph model as a frozen ``nn.Module``.

    ``forward(x, outputs)`` takes the NCHW value of the one placeholder, runs only what the named ``outputs`` depend
    on, and returns them as a list: 4-D results are NCHW, all others have TensorFlow's own axis order. The weights are
    constants: gradients reach the input only.
    """

    def __init__(self, nodes: list[dict[str, Any]], constants: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.nodes = {node["name"]: node for node in nodes}
        self.placeholder = next(node["name"] for node in nodes if node["op"] == "Placeholder")
        unknown = {node["op"] for node in nodes} - set(_OPERATIONS) - SILENT
        if unknown:
            raise FacemugError(f"the graph uses {', '.join(sorted(unknown))}, which this reader does not know: "
                               f"use a model of {', '.join(sorted(_OPERATIONS))}")
        layouts: dict[str, str] = {}
        for node in nodes:
            if node["op"] in CONVOLUTIONS | DEPTHWISE:
                layouts[_source(node["input"][1])] = "depthwise" if node["op"] in DEPTHWISE else "dense"
        self._keys: dict[str, str] = {}
        for index, (name, array) in enumerate(constants.items()):
            key = f"constant{index}"
            self.register_buffer(key, _to_torch(array, layouts.get(name)), persistent=False)
            self._keys[name] = key

    @classmethod
    def read(cls, model_json: Path | str) -> GraphModel:
        """Read ``model.json`` and the shards beside it. Raises :class:`FacemugError` on anything but a graph model."""
        path = Path(model_json)
        try:
            return cls._read(path)
        except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
            raise FacemugError(f"{path} or a file beside it is damaged ({type(error).__name__}): delete {path.parent}, and it "
                               "is fetched again") from error

    @classmethod
    def _read(cls, path: Path) -> GraphModel:
        document = json.loads(path.read_text())
        if document.get("format") != "graph-model":
            raise FacemugError(f"{path.name} is a {document.get('format')!r} model: a tfjs graph-model is needed")
        constants: dict[str, np.ndarray] = {}
        for group in document["weightsManifest"]:
            data = b"".join((path.parent / shard).read_bytes() for shard in group["paths"])
            offset = 0
            for entry in group["weights"]:
                array, offset = _read_weight(data, offset, entry)
                constants[entry["name"]] = array
            if offset != len(data):
                raise FacemugError(f"the shards of {path.name} hold {len(data)} bytes where its manifest names {offset}: "
                                   "fetch them again")
        return cls(document["modelTopology"]["node"], constants).eval().requires_grad_(False)

    def forward(self, x: Tensor, outputs: list[str]) -> list[Tensor]:
        values: dict[str, Tensor] = {self.placeholder: x}
        order = self._order(outputs)
        last_use = {name: index for index, node in enumerate(order) for name in self._inputs(node)}
        for index, name in enumerate(order):
            if name not in values:
                node = self.nodes[name]
                if node["op"] == "Const":
                    values[name] = getattr(self, self._keys[name])
                else:
                    values[name] = _OPERATIONS[node["op"]](node.get("attr", {}), [values[i] for i in self._inputs(name)])
            for used in self._inputs(name):  # feature maps are large: drop each after its last reader
                if last_use[used] == index and used not in outputs:
                    values.pop(used, None)
        return [values[name] for name in outputs]

    def _inputs(self, name: str) -> list[str]:
        return [_source(i) for i in self.nodes[name].get("input", []) if not i.startswith("^")]

    def _order(self, outputs: list[str]) -> list[str]:
        order: list[str] = []
        done: set[str] = set()
        stack = [(name, False) for name in reversed(outputs)]
        while stack:
            name, ready = stack.pop()
            if name in done:
                continue
            if name not in self.nodes:
                raise FacemugError(f"the graph has no node {name!r}: name one of its {len(self.nodes)} nodes")
            if ready:
                done.add(name)
                order.append(name)
            else:
                stack.append((name, True))
                stack.extend((i, False) for i in reversed(self._inputs(name)))
        return order


def _source(name: str) -> str:
    return name.split(":")[0]


def _read_weight(data: bytes, offset: int, entry: dict[str, Any]) -> tuple[np.ndarray, int]:
    quantization = entry.get("quantization")
    stored = np.dtype(quantization["dtype"] if quantization else entry["dtype"])
    count = int(np.prod(entry["shape"], dtype=np.int64))
    array = np.frombuffer(data, dtype=stored, count=count, offset=offset).reshape(entry["shape"])
    if quantization:
        array = array.astype(np.float32)
        if "scale" in quantization:  # affine integers; float16 storage has no scale
            array = array * np.float32(quantization["scale"]) + np.float32(quantization["min"])
    return array, offset + count * stored.itemsize


def _to_torch(array: np.ndarray, layout: str | None) -> Tensor:
    tensor = torch.from_numpy(np.array(array))
    if tensor.dtype == torch.int32:
        tensor = tensor.long()
    if layout == "dense":  # HWIO -> OIHW
        return tensor.permute(3, 2, 0, 1).contiguous()
    if layout == "depthwise":  # H W C M -> (C·M) 1 H W, output channel c·M + m as in TensorFlow
        height, width, channels, multiplier = tensor.shape
        return tensor.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width).contiguous()
    return tensor


def _text(attr: dict[str, Any], key: str, default: str = "") -> str:
    return base64.b64decode(attr[key]["s"]).decode() if key in attr else default


def _integers(attr: dict[str, Any], key: str) -> list[int]:
    return [int(i) for i in attr[key]["list"]["i"]]


def _flag(attr: dict[str, Any], key: str) -> bool:
    return bool(attr.get(key, {}).get("b", False))


def _axis(axis: int, rank: int) -> int:
    axis = axis % rank
    return NHWC_TO_NCHW[axis] if rank == 4 else axis


def _same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def _pad(x: Tensor, attr: dict[str, Any], kernel: tuple[int, int], value: float = 0.0) -> Tensor:
    if _text(attr, "padding") == "VALID":
        return x
    strides = _integers(attr, "strides")[1:3]
    dilations = _integers(attr, "dilations")[1:3] if "dilations" in attr else [1, 1]
    top, bottom = _same_padding(x.shape[2], kernel[0], strides[0], dilations[0])
    left, right = _same_padding(x.shape[3], kernel[1], strides[1], dilations[1])
    return F.pad(x, (left, right, top, bottom), value=value)


def _activate(attr: dict[str, Any], x: Tensor) -> Tensor:
    fused = [base64.b64decode(s).decode() for s in attr.get("fused_ops", {}).get("list", {}).get("s", [])]
    for operation in fused:
        if operation == "Relu":
            x = x.relu()
        elif operation == "Relu6":
            x = x.clamp(0, 6)
        elif operation != "BiasAdd":
            raise FacemugError(f"the graph fuses {operation}, which this reader does not know: BiasAdd, Relu and Relu6 are")
    return x


def _convolve(attr: dict[str, Any], inputs: list[Tensor], depthwise: bool) -> Tensor:
    x, weight = inputs[:2]
    bias = inputs[2] if len(inputs) > 2 else None
    x = _pad(x, attr, (weight.shape[2], weight.shape[3]))
    x = F.conv2d(x, weight, bias, stride=_integers(attr, "strides")[1:3], dilation=_integers(attr, "dilations")[1:3],
                 groups=x.shape[1] if depthwise else 1)
    return _activate(attr, x)


def _matmul(attr: dict[str, Any], inputs: list[Tensor]) -> Tensor:
    a = inputs[0].mT if _flag(attr, "transpose_a") else inputs[0]
    b = inputs[1].mT if _flag(attr, "transpose_b") else inputs[1]
    x = a @ b
    return _activate(attr, x + inputs[2] if len(inputs) > 2 else x)


def _broadcast(inputs: list[Tensor]) -> list[Tensor]:
    """TensorFlow broadcasts a vector along NHWC's last axis, the channels, which NCHW keeps second."""
    rank = max(x.dim() for x in inputs)
    return [x.view(1, -1, 1, 1) if rank == 4 and x.dim() == 1 and x.numel() > 1 else x for x in inputs]


def _max_pool(attr: dict[str, Any], inputs: list[Tensor]) -> Tensor:
    kernel = tuple(_integers(attr, "ksize")[1:3])
    return F.max_pool2d(_pad(inputs[0], attr, kernel, -torch.inf), kernel, _integers(attr, "strides")[1:3])


def _avg_pool(attr: dict[str, Any], inputs: list[Tensor]) -> Tensor:
    kernel, strides = tuple(_integers(attr, "ksize")[1:3]), _integers(attr, "strides")[1:3]
    x = inputs[0]
    inside = _pad(torch.ones_like(x[:1, :1]), attr, kernel)  # padding is left out of TensorFlow's mean
    return F.avg_pool2d(_pad(x, attr, kernel), kernel, strides) / F.avg_pool2d(inside, kernel, strides)


def _resize_axis(x: Tensor, axis: int, size: int, align_corners: bool, half_pixel: bool) -> Tensor:
    length = x.shape[axis]
    steps = torch.arange(size, device=x.device, dtype=torch.float32)
    if align_corners:
        position = steps * ((length - 1) / max(size - 1, 1))
    elif half_pixel:
        position = ((steps + 0.5) * (length / size) - 0.5).clamp(0, length - 1)
    else:  # the legacy rule: no half-pixel shift, so results lie up and left of PyTorch's
        position = steps * (length / size)
    low = position.floor().long().clamp(max=length - 1)
    high = (low + 1).clamp(max=length - 1)
    shape = [1] * x.dim()
    shape[axis] = size
    weight = (position - low).view(shape).to(x.dtype)
    return torch.lerp(x.index_select(axis, low), x.index_select(axis, high), weight)


def resize_bilinear(x: Tensor, size: tuple[int, int], align_corners: bool = False, half_pixel: bool = False) -> Tensor:
    """TensorFlow's ``ResizeBilinear`` on an NCHW tensor, legacy coordinates by default."""
    return _resize_axis(_resize_axis(x, 2, size[0], align_corners, half_pixel), 3, size[1], align_corners, half_pixel)


def _resize(attr: dict[str, Any], inputs: list[Tensor]) -> Tensor:
    height, width = inputs[1].tolist()
    return resize_bilinear(inputs[0], (int(height), int(width)), _flag(attr, "align_corners"), _flag(attr, "half_pixel_centers"))


def _shape(attr: dict[str, Any], inputs: list[Tensor]) -> Tensor:
    sizes = list(inputs[0].shape)
    return torch.tensor([sizes[_axis(i, len(sizes))] for i in range(len(sizes))], dtype=torch.long)


def _strided_slice(attr: dict[str, Any], inputs: list[Tensor]) -> Tensor:
    x, begin, end, step = inputs
    if x.dim() != 1:
        raise FacemugError("the graph slices a feature map, which this reader does not know: only slices of a shape are read")
    first = None if int(attr["begin_mask"]["i"]) else int(begin[0])
    last = None if int(attr["end_mask"]["i"]) else int(end[0])
    picked = x[first:last:int(step[0])]
    return picked[0] if int(attr["shrink_axis_mask"]["i"]) else picked


def _reduce(attr: dict[str, Any], inputs: list[Tensor], operation: str) -> Tensor:
    x = inputs[0]
    axes = tuple(_axis(int(i), x.dim()) for i in inputs[1].reshape(-1).tolist())
    return getattr(x, operation)(dim=axes, keepdim=_flag(attr, "keep_dims"))


def _squeeze(attr: dict[str, Any], inputs: list[Tensor]) -> Tensor:
    x = inputs[0].permute(0, 2, 3, 1) if inputs[0].dim() == 4 else inputs[0]
    return x.squeeze(tuple(_integers(attr, "squeeze_dims")))


_OPERATIONS = {
    "Conv2D": lambda a, i: _convolve(a, i, depthwise=False),
    "_FusedConv2D": lambda a, i: _convolve(a, i, depthwise=False),
    "DepthwiseConv2dNative": lambda a, i: _convolve(a, i, depthwise=True),
    "FusedDepthwiseConv2dNative": lambda a, i: _convolve(a, i, depthwise=True),
    "_FusedMatMul": _matmul,
    "Add": lambda a, i: torch.add(*_broadcast(i)),
    "AddV2": lambda a, i: torch.add(*_broadcast(i)),
    "Mul": lambda a, i: torch.mul(*_broadcast(i)),
    "Minimum": lambda a, i: torch.minimum(*_broadcast(i)),
    "Maximum": lambda a, i: torch.maximum(*_broadcast(i)),
    "Relu": lambda a, i: i[0].relu(),
    "Sigmoid": lambda a, i: i[0].sigmoid(),
    "Softmax": lambda a, i: i[0].softmax(_axis(-1, i[0].dim())),
    "Identity": lambda a, i: i[0],
    "MaxPool": _max_pool,
    "AvgPool": _avg_pool,
    "Mean": lambda a, i: _reduce(a, i, "mean"),
    "ConcatV2": lambda a, i: torch.cat(i[:-1], _axis(int(i[-1]), i[0].dim())),
    "ResizeBilinear": _resize,
    "Shape": _shape,
    "StridedSlice": _strided_slice,
    "Pack": lambda a, i: torch.stack(i, int(a["axis"]["i"])),
    "ArgMax": lambda a, i: i[0].argmax(_axis(int(i[1]), i[0].dim())),
    "Squeeze": _squeeze,
}
