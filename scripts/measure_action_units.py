"""Measure how far the action units of faces/action_units.py can be trusted: the table of its docstring.

    python scripts/measure_action_units.py PORTRAITS [--faces 276] [--moved 36]

``PORTRAITS`` is a folder of photographs. Correlations with the expert's readings, on sampled faces and on the photographs; what
one deviation of the directions smile, mouth_open and eyes_open adds to each axis; and how alike a photograph and its mirror image
read. About a second a face on one CPU core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from facemug_lib.editing.latent.directions import load_directions
from facemug_lib.errors import FacemugError
from facemug_lib.experts.student import ExpertStudent
from facemug_lib.faces.action_units import ACTION_UNITS, AXIS_NAMES, UnitReader
from facemug_lib.faces.alignment import open_face
from facemug_lib.faces.photos import pictures_in
from facemug_lib.faces.prior import FacePrior

FIRST_SEED, PSI, STRENGTH = 16_000_000, 0.8, 1.5
TRAITS = ("smile", "mouth_open", "eyes_open")


def correlations(readings: Tensor, traits: Tensor) -> Tensor:
    """Of each axis [n,a] with each trait [n,t]: [a,t]."""
    a, t = ((x - x.mean(0)) / x.std(0, unbiased=False) for x in (readings, traits))
    return a.T @ t / len(a)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--faces", type=int, default=276)
    parser.add_argument("--moved", type=int, default=36)
    given = parser.parse_args()
    if not given.portraits.is_dir():
        parser.error(f"{given.portraits} is no folder: name one of photographs")
    pictures = pictures_in(given.portraits)
    prior, expert, reader, directions = FacePrior.load(), ExpertStudent.load(), UnitReader(), load_directions()

    def seen(image: Tensor) -> Tensor:
        values = expert.attributes(image)
        return torch.stack([values[name] for name in TRAITS], 1)

    readings, traits = [], []
    effects: dict[str, list[Tensor]] = {name: [] for name in TRAITS}
    for place in range(given.faces):
        codes = prior.broadcast(prior.w_of_seeds([FIRST_SEED + place], PSI))
        image = prior.synthesize(codes).clamp(-1, 1)
        readings.append(reader(image))
        traits.append(seen(image))
        for name in TRAITS if place < given.moved else ():
            step = STRENGTH * directions[name].vector
            low, high = (reader(prior.synthesize(codes + side * step).clamp(-1, 1)) for side in (-1, 1))
            effects[name].append((high - low) / (2 * STRENGTH))
    sampled = correlations(torch.cat(readings), torch.cat(traits))

    readings, mirrored, traits = [], [], []
    for path in pictures:
        try:
            image = open_face(path).image
        except FacemugError as error:
            print(f"left out: {error}")
            continue
        readings.append(reader(image))
        mirrored.append(reader(image.flip(-1)))
        traits.append(seen(image))
    portraits = correlations(torch.cat(readings), torch.cat(traits))
    both = torch.stack((torch.cat(readings), torch.cat(mirrored)))
    alike = 1 - (both[0] - both[1]).var(0) / 2 / both[0].var(0)
    added = torch.stack([torch.cat(effects[name]).mean(0) for name in TRAITS], 1)
    print("| axis | units | sampled | portraits | directions | mirror |\n|---|---|---|---|---|---|")
    for place, axis in enumerate(AXIS_NAMES):
        units = ", ".join(str(unit.sign * unit.number) for unit in ACTION_UNITS.values() if unit.axis == axis)
        rows = (", ".join(f"{value:.2f}" for value in table[place].tolist()) for table in (sampled, portraits, added))
        print(f"| {axis} | {units} | {' | '.join(rows)} | {float(alike[place]):.2f} |")


if __name__ == "__main__":
    main()
