"""All pixel-wise guidance of an edit as one object: the only place that knows channel order, ranges and "absent".

=========  ========  ==========  ===============================================
modality   channels  range       zero means
=========  ========  ==========  ===============================================
image      3         [-1, 1]     edited pixel (masked out); also mid-grey
sketch     1         {0, 1}      no stroke
semantics  19        {0, 1}      in all channels: unlabelled
colour     3         [-1, 1]     no colour given; also mid-grey
=========  ========  ==========  ===============================================

The 26 channels are concatenated in this order, that of the authors' released encoder trainer (the paper's text lists them
otherwise). Zero is the absent value of every modality, and a map that is zero everywhere is absent whatever it was given as.

Taught in `notebooks/01_data_synthesis.ipynb`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Integer, Real, Shaped
from torch import Tensor
from torch.nn import functional as F

from facemug_lib.errors import FacemugError
from facemug_lib.modalities.semantics import NUM_CLASSES, UNLABELLED, one_hot

MODALITIES = ("image", "sketch", "semantics", "colour")
CHANNELS = {"image": 3, "sketch": 1, "semantics": NUM_CLASSES, "colour": 3}
INPUT_CHANNELS = sum(CHANNELS.values())


@dataclass(frozen=True, eq=False)
class Conditions:
    """Validated guidance; make one with :meth:`build`.

    mask [b, 1, h, w] in {0, 1}, 1 = edit; image [b, 3, h, w], already zero where the mask is 1; sketch, semantics (one-hot) and
    colour as in the table above; present [b, 4] bool, in the order of :data:`MODALITIES`.
    """

    mask: Float[Tensor, "b 1 h w"]
    image: Float[Tensor, "b 3 h w"]
    sketch: Float[Tensor, "b 1 h w"]
    semantics: Float[Tensor, "b 19 h w"]
    colour: Float[Tensor, "b 3 h w"]
    present: Bool[Tensor, "b 4"]

    @classmethod
    def build(
        cls,
        mask: Shaped[Tensor, "b 1 h w"],
        image: Real[Tensor, "b 3 h w"] | None = None,
        sketch: Shaped[Tensor, "b 1 h w"] | None = None,
        semantics: Shaped[Tensor, "b 19 h w"] | Integer[Tensor, "b h w"] | None = None,
        colour: Real[Tensor, "b 3 h w"] | None = None,
        *,
        sketch_mask: Shaped[Tensor, "b 1 h w"] | None = None,
        semantics_mask: Shaped[Tensor, "b 1 h w"] | None = None,
        colour_mask: Shaped[Tensor, "b 1 h w"] | None = None,
        present: Bool[Tensor, "b 4"] | None = None,
        check: bool = True,
    ) -> Conditions:
        """Check, mask and complete the guidance.

        ``semantics`` is a label map [b, h, w] of whole numbers (-1 = unlabelled) or one-hot [b, 19, h, w]. ``image`` is the whole
        image: its edited part is cleared here, and without a mask's zeros nothing of it remains. The ``*_mask`` arguments
        [b, 1, h, w] in {0, 1} say where a modality speaks (1); elsewhere it is cleared. ``present`` [b, 4] bool switches
        modalities off per sample. ``check=False`` skips the tests of values (not of shapes), which wait for the device; it is
        for maps that this library made.

        Raises :class:`FacemugError` for a wrong shape, a value out of range, NaN or a mask that is not binary.
        """
        _require_shape("mask", mask, (None, 1, None, None))
        b, _, h, w = mask.shape
        dtype = next((m.dtype for m in (image, colour, mask, sketch) if m is not None and m.is_floating_point()), torch.float32)
        mask = _binary("mask", mask, mask, dtype, check)
        maps: dict[str, Tensor] = {}
        if image is not None:
            maps["image"] = _in_range("image", image, mask, dtype, check) * (1 - mask)
        if sketch is not None:
            maps["sketch"] = _binary("sketch", sketch, mask, dtype, check)
        if semantics is not None:
            maps["semantics"] = _semantics(semantics, mask, dtype, check)
        if colour is not None:
            maps["colour"] = _in_range("colour", colour, mask, dtype, check)
        for name, where in (("sketch", sketch_mask), ("semantics", semantics_mask), ("colour", colour_mask)):
            if where is not None and name in maps:
                where = _binary(f"{name}_mask", where, mask, dtype, check)
                maps[name] = torch.where(where > 0.5, maps[name], _absent(maps[name]))
            elif where is not None:
                raise FacemugError(f"{name}_mask was given without {name}: give both or neither")
        if present is not None and present.shape != (b, len(MODALITIES)):
            raise FacemugError(f"present has shape {tuple(present.shape)}: use [{b}, {len(MODALITIES)}], one flag per modality")

        flags = []
        for i, name in enumerate(MODALITIES):
            if name not in maps:
                maps[name] = torch.zeros(b, CHANNELS[name], h, w, device=mask.device, dtype=dtype)
            elif present is not None:
                # where, not a product: a NaN in a modality that is switched off must not survive
                maps[name] = torch.where(present[:, i].to(mask.device).view(b, 1, 1, 1), maps[name], _absent(maps[name]))
            flags.append((maps[name] != _absent(maps[name])).flatten(1).any(1))
        if semantics is not None and semantics.ndim != 4:
            maps["semantics"] = one_hot(maps["semantics"][:, 0]).to(dtype)  # only now: it is most of what there is to move
        return cls(mask=mask, present=torch.stack(flags, dim=1), **maps)

    def __len__(self) -> int:
        return len(self.mask)

    def encoder_input(self) -> Float[Tensor, "b 26 h w"]:
        """The style encoder's input ``[b, 26, h, w]``."""
        return torch.cat([getattr(self, name) for name in MODALITIES], dim=1)

    def maps(self) -> dict[str, Float[Tensor, "b _ h w"]]:
        """The aggregation's inputs by modality; "image" has a fourth channel, mask - 0.5, which is never absent."""
        maps = {name: getattr(self, name) for name in MODALITIES}
        return maps | {"image": torch.cat((self.image, self.mask - 0.5), dim=1)}

    def to(self, device: torch.device | str) -> Conditions:
        """A copy on another device."""
        return Conditions(**{name: value.to(device) for name, value in vars(self).items()})

    def select(self, names: Iterable[str]) -> Conditions:
        """A copy in which only the named modalities are present; the mask stays."""
        kept = {names} if isinstance(names, str) else set(names)
        if unknown := kept - set(MODALITIES):
            raise FacemugError(f"unknown modality {sorted(unknown)[0]!r}: use {', '.join(MODALITIES)}")
        cleared = {name: torch.zeros_like(getattr(self, name)) for name in MODALITIES if name not in kept}
        keep = torch.tensor([name in kept for name in MODALITIES], device=self.present.device)
        return replace(self, present=self.present & keep, **cleared)

    def reduced(self, size: int) -> Conditions:
        """The same guidance at ``size`` px, which divides its own side; itself where that is its side.

        A block of pixels is hole where any of them is, so that nothing hidden shows; a line of the sketch stays a whole line; the
        photo is averaged; labels and colours are those of a pixel near the block's middle. What is present stays so.
        """
        side = self.mask.shape[-1]
        if side == size:
            return self
        if self.mask.shape[-2] != side or side % size:
            raise FacemugError(f"guidance of {self.mask.shape[-2]}×{side} px cannot be reduced to {size} px: "
                               "use a square side that the size divides")
        step = side // size
        mask = F.max_pool2d(self.mask, step)
        middle = (slice(None), slice(None), slice(step // 2, None, step), slice(step // 2, None, step))
        return Conditions(mask=mask, image=F.avg_pool2d(self.image, step) * (1 - mask), sketch=F.max_pool2d(self.sketch, step),
                          semantics=self.semantics[middle], colour=self.colour[middle], present=self.present)

    def composite(self, generated: Float[Tensor, "b 3 h w"], original: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """``generated`` inside the mask and ``original`` outside, both ``[b, 3, h, w]``.

        Known pixels are copied, not multiplied, so they keep every bit; gradients reach ``generated`` only inside the mask.
        """
        shape = (len(self), 3, *self.mask.shape[2:])
        _require_shape("generated", generated, shape)
        _require_shape("original", original, shape)
        return torch.where(self.mask > 0.5, generated.to(original.dtype), original)


def exemplar_input(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 26 h w"]:
    """The style encoder's input ``[b, 26, h, w]`` for an exemplar ``[b, 3, h, w]``: all other channels are zero."""
    _require_shape("exemplar", image, (None, 3, None, None))
    b, _, h, w = image.shape
    return torch.cat((image, image.new_zeros(b, INPUT_CHANNELS - 3, h, w)), dim=1)


def _require_shape(name: str, value: Tensor, shape: tuple[int | None, ...]) -> None:
    fits = value.ndim == len(shape) and all(s is None or s == v for s, v in zip(shape, value.shape, strict=True))
    if not fits:
        wanted = ", ".join(letter if size is None else str(size) for letter, size in zip("bchw", shape, strict=True))
        raise FacemugError(f"{name} has shape {tuple(value.shape)}: use [{wanted}]")


def _like(name: str, value: Tensor, mask: Tensor, dtype: torch.dtype) -> Tensor:
    b, _, h, w = mask.shape
    _require_shape(name, value, (b, CHANNELS.get(name, 1), h, w))
    if value.device != mask.device:
        raise FacemugError(f"{name} is on {value.device} and the mask on {mask.device}: move both to one device")
    return value.to(dtype)


def _binary(name: str, value: Tensor, mask: Tensor, dtype: torch.dtype, check: bool) -> Tensor:
    value = _like(name, value, mask, dtype)
    if check and not ((value == 0) | (value == 1)).all():
        if value.isnan().any():
            raise FacemugError(f"{name} holds NaN: use 0 and 1 only")
        limit = 127 if value.max() > 1 else 0.5
        raise FacemugError(
            f"{name} has values from {value.min():g} to {value.max():g}, not only 0 and 1: "
            f"threshold it, as in ({name} > {limit}).float()"
        )
    return value


def _in_range(name: str, value: Tensor, mask: Tensor, dtype: torch.dtype, check: bool) -> Tensor:
    value = _like(name, value, mask, dtype)
    if check:
        low, high = float(value.min()), float(value.max())  # NaN comes through both
        if low != low or high != high:
            raise FacemugError(f"{name} holds NaN: use finite values in [-1, 1]")
        if low < -1.001 or high > 1.001:
            how = "x / 127.5 - 1" if low >= 0 and high > 2 else "x.clamp(-1, 1)"
            raise FacemugError(f"{name} has values from {low:g} to {high:g}: use [-1, 1], as in {how}")
    return value


def _absent(value: Tensor) -> Tensor:
    """What a map holds where nothing is said: 0, and -1 where it holds labels."""
    return value.new_full((), 0 if value.is_floating_point() else UNLABELLED)


def _semantics(value: Tensor, mask: Tensor, dtype: torch.dtype, check: bool) -> Tensor:
    """One-hot [b,19,h,w] as it is; labels [b,h,w] as int8 [b,1,h,w]."""
    b, _, h, w = mask.shape
    if value.ndim == 4:
        value = _binary("semantics", value, mask, dtype, check)
        if check and (value.sum(1) > 1).any():
            raise FacemugError("semantics has pixels with several classes: use one-hot channels, or a label map [b, h, w]")
        return value
    _require_shape("semantics (as labels)", value, (b, h, w))
    if value.is_floating_point() or value.dtype == torch.bool:
        raise FacemugError(f"semantics labels are {value.dtype}: use whole numbers -1..{NUM_CLASSES - 1}, as in labels.long()")
    if value.device != mask.device:
        raise FacemugError(f"semantics is on {value.device} and the mask on {mask.device}: move both to one device")
    if check:
        low, high = int(value.min()), int(value.max())
        if low < -1 or high >= NUM_CLASSES:
            raise FacemugError(f"semantics has labels from {low} to {high}: use 0..{NUM_CLASSES - 1}, and -1 for unlabelled")
    return value[:, None].to(torch.int8)
