"""FACEMUG's trainable networks, in plain PyTorch."""

from facemug_lib.models.layers import count_parameters

__all__ = ["count_parameters"]
