"""Record what the original exported networks return, for ``tests/faces/test_prior.py`` to compare the port with.

A development-time script: it needs ``openvino`` and ``safetensors`` (in an environment of their own) and the unpacked
wheel that ``facemug_lib.assets`` pins as "prior":

    python scripts/record_prior_reference.py UNPACKED_WHEEL tests/data/prior_reference.safetensors
"""

import sys
from pathlib import Path

import numpy as np
import openvino
from safetensors.numpy import save_file

FACES = 2
STRIDE = 8  # the committed picture keeps every eighth pixel of 1024², which still sees every layer


def main(package: Path, target: Path) -> None:
    core = openvino.Core()
    data = package / "random_face" / "data"
    mapping, synthesis = (core.compile_model(data / f"{net}Network.xml", "CPU") for net in ("Mapping", "Synthesis"))
    z = np.random.default_rng(0).standard_normal((FACES, 512), dtype=np.float32)
    w = np.concatenate([mapping([row[None]])[0] for row in z])
    images = np.concatenate([synthesis([row[None]])[0] for row in w])
    save_file({"z": z, "w": w, "image": np.ascontiguousarray(images[:, :, ::STRIDE, ::STRIDE])}, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
