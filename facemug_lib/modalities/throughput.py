"""How many images a second each modality can be made for."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from facemug_lib.devices import resolve_device
from facemug_lib.modalities import colour, masks, semantics, sketch
from facemug_lib.modalities.dropout import training_conditions
from facemug_lib.seeds import check_seed


def throughput(
    batch: int = 16, device: str | torch.device = "auto", size: int = 256, seconds: float = 1.0, seed: int = 0
) -> dict[str, float]:
    """Images per second of every modality at ``size`` px, and of a whole training step's guidance ("training conditions").

    Each is warmed up by one batch and then repeated for at least ``seconds``. The content is smooth noise in blocks, with as many
    edges and regions as a portrait has, so that nothing need be downloaded.
    """
    device = resolve_device(device)
    generator = torch.Generator().manual_seed(check_seed(seed))
    coarse = torch.rand(batch, 3, 12, 12, generator=generator) * 2 - 1
    image = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(-1, 1).to(device)
    blocks = torch.randint(0, semantics.NUM_CLASSES, (batch, 1, 8, 8), generator=generator)
    labels = torch.nn.functional.interpolate(blocks.float(), (size, size)).long()[:, 0].to(device)
    lines = sketch.pencil_sketch(image)

    jobs: dict[str, Callable[[], object]] = {
        "free-form masks": lambda: masks.free_form(batch, size, size, generator, device=device),
        "irregular masks": lambda: masks.irregular(batch, size, size, generator=generator, device=device),
        "pencil sketch": lambda: sketch.pencil_sketch(image),
        "sketch jitter": lambda: sketch.jitter_sketch(lines, generator),
        "semantics one-hot": lambda: semantics.one_hot(labels),
        "coarse semantics": lambda: semantics.coarsen_labels(labels, generator),
        "colour region mean": lambda: colour.region_mean(image, labels),
        "colour superpixels": lambda: colour.superpixels(image),
        "training conditions": lambda: training_conditions(image, labels, generator),
    }
    return {name: _images_per_second(job, batch, device, seconds) for name, job in jobs.items()}


def _images_per_second(job: Callable[[], object], batch: int, device: torch.device, seconds: float) -> float:
    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    job()
    wait()
    start, done = time.perf_counter(), 0
    while True:
        job()
        wait()
        done += batch
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return done / elapsed
