"""A published e4e encoder: read under its own names, computed as a reference by those names does, used for whole faces alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from shapes import hold
from tiny import TinyPrior
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.editing.editor import Editor
from facemug_lib.errors import FacemugError
from facemug_lib.faces.code_space import sg2_codes_of
from facemug_lib.models import published_encoder
from facemug_lib.models.published_encoder import PublishedEncoder, WholeFaces

BLOCKS = [(inner if i == 0 else outer, outer, 2 if i == 0 else 1)
          for inner, outer, count in ((64, 64, 3), (64, 128, 4), (128, 256, 14), (256, 512, 3)) for i in range(count)]


def e4e_state() -> dict[str, Tensor]:
    """Random numbers under the names and in the shapes of e4e's encoder. The heads share their convolutions, to be small."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int, std: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=draw) * std

    def convolution(outer: int, inner: int, kernel: int) -> Tensor:
        return normal(outer, inner, kernel, kernel, std=(inner * kernel**2) ** -0.5)

    state: dict[str, Tensor] = {}

    def norm(name: str, channels: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = 1 + normal(channels, std=0.1), normal(channels, std=0.1)
        state[f"{name}.running_mean"] = normal(channels, std=0.1)
        state[f"{name}.running_var"] = 1 + normal(channels, std=0.1).abs()
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    state["input_layer.0.weight"] = convolution(64, 3, 3)
    norm("input_layer.1", 64)
    state["input_layer.2.weight"] = torch.full((64,), 0.25)
    for i, (inner, outer, _) in enumerate(BLOCKS):
        body = f"body.{i}"
        if inner != outer:
            state[f"{body}.shortcut_layer.0.weight"] = convolution(outer, inner, 1)
            norm(f"{body}.shortcut_layer.1", outer)
        norm(f"{body}.res_layer.0", inner)
        state[f"{body}.res_layer.1.weight"], state[f"{body}.res_layer.2.weight"] = convolution(outer, inner, 3), torch.rand(outer)
        state[f"{body}.res_layer.3.weight"] = convolution(outer, outer, 3) * 0.2
        norm(f"{body}.res_layer.4", outer)
        state[f"{body}.res_layer.5.fc1.weight"] = convolution(outer // 16, outer, 1)
        state[f"{body}.res_layer.5.fc2.weight"] = convolution(outer, outer // 16, 1)
    shared, bias = convolution(512, 512, 3), normal(512, std=0.1)
    for j in range(18):
        for k in range(4 if j < 3 else 5 if j < 7 else 6):
            state[f"styles.{j}.convs.{2 * k}.weight"], state[f"styles.{j}.convs.{2 * k}.bias"] = shared, bias
        state[f"styles.{j}.linear.weight"], state[f"styles.{j}.linear.bias"] = normal(512, 512), normal(512, std=0.1)
    for layer, inner in (("latlayer1", 256), ("latlayer2", 128)):
        state[f"{layer}.weight"], state[f"{layer}.bias"] = convolution(512, inner, 1), normal(512, std=0.1)
    return state


@torch.no_grad()
def reference(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The offsets [b,18,512] by the checkpoint's own names, layer by layer."""

    def norm(x: Tensor, name: str) -> Tensor:
        return F.batch_norm(x, *(state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")))

    x = F.prelu(norm(F.conv2d(x, state["input_layer.0.weight"], padding=1), "input_layer.1"), state["input_layer.2.weight"])
    levels = {}
    for i, (inner, outer, stride) in enumerate(BLOCKS):
        body = f"body.{i}"
        short = x[:, :, ::stride, ::stride]
        if inner != outer:
            short = norm(F.conv2d(short, state[f"{body}.shortcut_layer.0.weight"]), f"{body}.shortcut_layer.1")
        y = F.conv2d(norm(x, f"{body}.res_layer.0"), state[f"{body}.res_layer.1.weight"], padding=1)
        y = F.prelu(y, state[f"{body}.res_layer.2.weight"])
        y = F.conv2d(y, state[f"{body}.res_layer.3.weight"], stride=stride, padding=1)
        y = norm(y, f"{body}.res_layer.4")
        gate = F.conv2d(y.mean((2, 3), keepdim=True), state[f"{body}.res_layer.5.fc1.weight"]).relu()
        x = y * F.conv2d(gate, state[f"{body}.res_layer.5.fc2.weight"]).sigmoid() + short
        levels[i] = x
    c1, c2, c3 = levels[6], levels[20], levels[23]
    p2 = F.interpolate(c3, c2.shape[2:], mode="bilinear", align_corners=True)
    p2 = p2 + F.conv2d(c2, state["latlayer1.weight"], state["latlayer1.bias"])
    p1 = F.interpolate(p2, c1.shape[2:], mode="bilinear", align_corners=True)
    p1 = p1 + F.conv2d(c1, state["latlayer2.weight"], state["latlayer2.bias"])
    codes = []
    for j in range(18):
        y = c3 if j < 3 else p2 if j < 7 else p1
        for k in range(4 if j < 3 else 5 if j < 7 else 6):
            y = F.leaky_relu(F.conv2d(y, *(state[f"styles.{j}.convs.{2 * k}.{part}"] for part in ("weight", "bias")), 2, 1))
        y = F.linear(y.flatten(1), state[f"styles.{j}.linear.weight"] / 512**0.5, state[f"styles.{j}.linear.bias"])
        codes.append(y if j == 0 else codes[0] + y)
    return torch.stack(codes, dim=1)


@pytest.fixture(autouse=True)
def _shapes_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    hold(monkeypatch, [published_encoder])


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return e4e_state()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, state) -> Path:
    """As the trainer saves one: the encoder beside the decoder, the options, the mean code."""
    path = tmp_path_factory.mktemp("e4e") / "e4e_ffhq_encode.pt"
    mean = torch.linspace(-1, 1, 18)[:, None].expand(18, 512)
    content = {f"encoder.{name}": value for name, value in state.items()} | {"decoder.style.1.weight": torch.zeros(2)}
    torch.save({"state_dict": content, "latent_avg": mean, "opts": {"stylegan_size": 1024}}, path)
    return path


@pytest.fixture(scope="module")
def encoder(checkpoint) -> PublishedEncoder:
    return PublishedEncoder.load(checkpoint)


def test_it_computes_what_its_checkpoint_says(encoder, state) -> None:
    face = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1
    wanted = torch.linspace(-1, 1, 18)[:, None] + reference(state, face)
    torch.testing.assert_close(encoder(face), wanted, rtol=1e-3, atol=1e-3)
    assert not encoder.training and not any(one.requires_grad for one in encoder.parameters())


def test_an_editor_reads_exemplars_with_it(checkpoint, encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PublishedEncoder, "load", lambda path, device: encoder)  # read once is enough
    editor = Editor.load("cpu", encoder=checkpoint)
    assert isinstance(editor.encoder, WholeFaces) and editor.loaded_from == {"encoder": str(checkpoint)}
    face = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1
    codes = editor.read(face)
    torch.testing.assert_close(codes, editor.encoder.published(face)[:, list(sg2_codes_of(17))])


class Read(nn.Module):
    """Answers with its number, and remembers how many faces it was shown."""

    def __init__(self, number: float, codes: int) -> None:
        super().__init__()
        self.number, self.codes, self.shown, self.config, self.mean_w = number, codes, [], "config", torch.zeros(512)

    def forward(self, x: Tensor) -> Tensor:
        self.shown.append(len(x))
        return torch.full((len(x), self.codes, 512), self.number)


def test_only_faces_shown_whole_and_without_guidance_are_read_by_it() -> None:
    own, published = Read(1.0, 17), Read(2.0, 18)
    both = WholeFaces(own, published, TinyPrior())
    x = torch.zeros(4, 26, 64, 64)
    x[:, :3] = torch.randint(0, 256, (4, 3, 64, 64), generator=torch.Generator().manual_seed(0)) / 127.5 - 1
    x[1, :3, 5, 5] = 0  # one hidden pixel
    x[2, 3, 9, 9] = 1  # one stroke
    assert both(x)[:, 0, 0].tolist() == [2, 1, 1, 2] and own.shown == [2] and published.shown == [2]
    assert both.config == "config" and both(x).shape == (4, 17, 512)
    both(x[1:3])
    assert published.shown == [2, 2]  # not asked where it has nothing to read


def test_codes_are_matched_by_resolution() -> None:
    assert sg2_codes_of(17) == (0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8, 9, 9, 10, 11)
    assert sg2_codes_of(14) == tuple(range(14))
    for count in (15, 20):
        with pytest.raises(FacemugError, match=f"a bank of {count} codes"):
            sg2_codes_of(count)


@pytest.mark.parametrize(("content", "words"), [
    ({"weights": 1}, "holds no encoder"), ({"state_dict": {"encoder.a": torch.zeros(1)}, "latent_avg": torch.zeros(512)},
                                           "is not e4e's encoder"),
    ({"state_dict": {}, "latent_avg": torch.zeros(14, 512)}, "mean code of shape"),
    (b"no pickle", "not a readable PyTorch checkpoint"), (None, "no file"),
])
def test_another_file_is_refused_in_one_line(content: object, words: str, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(FacemugError, match=words) as refused:
        PublishedEncoder.load(path)
    assert "\n" not in str(refused.value)
