"""Which device a computation runs on, how many faces share a pass on it, and what kind of machine it is."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import cv2
import psutil
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.recording import is_run, note

BATCH = 8
"""Faces that share a pass through the networks, where a caller has no reason for another number. A face's picture depends on its
batch in the last bits: at most one grey level of an 8-bit picture after one pass."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's <malloc.h>


def batches(count: int, size: int = BATCH) -> Iterator[range]:
    """The numbers 0 … ``count`` − 1 in ranges of ``size``; the last may be shorter."""
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn a device name into a ``torch.device``.

    ``"auto"`` takes CUDA when there is one, otherwise the CPU. An explicit device never falls back: asking for
    CUDA where there is none raises :class:`FacemugError`.
    """
    if isinstance(device, torch.device):
        return device
    if device == "auto":
        return _noted(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise FacemugError(f"unknown device {device!r}: use auto, cpu, cuda or cuda:N") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise FacemugError(f"device {device!r} was asked for but PyTorch sees no CUDA GPU: use --device cpu or auto")
    return _noted(resolved)


def _noted(device: torch.device) -> torch.device:
    if is_run():
        found = machine(device)
        note(device=found["device"] if device.type == "cuda" else f"{found['device']}, {found['threads']} threads")
    return device


def has_fast_bf16() -> bool:
    """Whether this CPU multiplies bf16 numbers (AVX512-BF16, AMX): elsewhere bf16 is slower than fp32."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())


def fast_bf16(device: torch.device) -> AbstractContextManager[Any]:
    """bf16 inside the block where ``device`` is a CPU that is faster in it; elsewhere the block is as its surroundings."""
    return torch.autocast("cpu", torch.bfloat16) if device.type == "cpu" and has_fast_bf16() else nullcontext()


def keep_freed_memory() -> bool:
    """Let the C library keep freed blocks of up to 1 GiB instead of returning each to the system; true where that worked.

    Why: the prior's activations are tens of megabytes. By default each of them is taken from the system, filled with zeros by
    the kernel and given back at once, which takes half of the prior's time: a batch of 4 at 256 px costs 0.49 s a face without
    this function and 0.21 s with it on two cores, 0.81 s and 0.46 s on one. In return the process keeps its peak memory until
    :func:`release_freed_memory`. Loading a prior calls it, since it concerns the whole process and must come before the first
    picture. Linux with glibc only; ``FACEMUG_MALLOC=system`` leaves all as it is.
    """
    if not sys.platform.startswith("linux") or os.environ.get("FACEMUG_MALLOC") == "system":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    is_set = [mallopt(option, value) == 1 for option, value in ((M_MMAP_THRESHOLD, 1 << 30), (M_TRIM_THRESHOLD, (1 << 31) - 1))]
    return all(is_set)


def release_freed_memory() -> bool:
    """Give what :func:`keep_freed_memory` keeps back to the system now; true where that is possible."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return False
    return True


def use_one_thread() -> None:
    """Compute with one thread from here on, for one of several processes that share the cores; ``OMP_NUM_THREADS`` says another
    number."""
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    torch.set_num_threads(int(threads) if threads.isdigit() and int(threads) > 0 else 1)
    cv2.setNumThreads(torch.get_num_threads())


def machine(device: torch.device) -> dict[str, Any]:
    """What the numbers were measured on."""
    return {"device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {platform.machine()}",
            "cores": os.cpu_count(), "threads": torch.get_num_threads(), "load": round(psutil.getloadavg()[0], 1),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1), "torch": torch.__version__,
            "python": platform.python_version()}
