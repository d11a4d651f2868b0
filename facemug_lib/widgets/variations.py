"""Several seeds of one edit side by side, of which one is taken: the paper's diverse results (FACEMUG Fig. 17) in one gesture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import PIL.Image
import torch
from torch import Tensor

from facemug_lib.editing.script.edit_script import Step
from facemug_lib.errors import FacemugError
from facemug_lib.pictures import pixels_of
from facemug_lib.widgets.layers import data_url
from facemug_lib.widgets.worker import Turn

COUNT = 4  # seeds that are tried at a time
MOST = 12  # … and that are shown
VARIETY = 0.5  # of variations where none is set: of most holes the seed alone decides nothing that could be seen
LARGEST_IN_PAGES = 2**53 - 1  # what a browser can tell from its neighbours
ALIKE = 2.5 / 255  # of [-1, 1]: pictures that differ by no more look the same


@dataclass(frozen=True, eq=False)
class Variations:
    """What an edit of picture ``number`` is with other seeds. snapshot: what was painted and set for it; shown: a seed and a
    picture (data URL) of each."""

    number: int
    step: Step
    snapshot: Mapping[str, Any]
    shown: Sequence[Mapping[str, Any]]

    def are_of(self, number: int, snapshot: Mapping[str, Any]) -> bool:
        """Whether they are of what is painted and set on that picture; the seed does not matter."""
        return number == self.number and {**snapshot, "seed": 0} == {**self.snapshot, "seed": 0}


class Varying:
    """The part of a :class:`~facemug_lib.widgets.painter.Painter` that tries seeds."""

    def vary(self, more: bool = False) -> None:
        """Start to try :data:`COUNT` seeds of the edit that is painted and set, from the one that is set on; with ``more``, those
        after the seeds that are shown. :meth:`wait` for them; :meth:`take` one. Where no variety is set, theirs is
        :data:`VARIETY`. What is shown of another edit goes. Raises what :meth:`edit` raises, and for a system: its edits know no
        seed."""
        self._idle()
        if self.system:
            raise FacemugError(f"{self.system} knows one picture of an edit, whatever the seed: choose FACEMUG for variations")
        step, snapshot, number = self._step(), self._snapshot(), self.session.current.number
        kept = self._variations.shown if more and self._has_variations() else ()
        first = kept[-1]["seed"] + 1 if kept else self.seed
        seeds = [(first + place) % (LARGEST_IN_PAGES + 1) for place in range(COUNT)]

        def job(turn: Turn) -> None:
            images = self.session.try_out([_varied(step, seed) for seed in seeds], self._reporter(turn), turn.check)
            turn.check()
            made = [{"seed": seed, "picture": data_url(PIL.Image.fromarray(pixels_of(image[0])))}
                    for seed, image in zip(seeds, images, strict=True)]
            self._variations = Variations(number, step, snapshot, [*kept, *made][-MOST:])
            self.note = ("all of them are alike: in this edit the seed decides nothing" if _are_alike(images)
                         else "each is the same edit with another seed: a click takes one")
            self._tell_variations()

        self._start(f"trying {COUNT} seeds", job)

    def take(self, number: int) -> None:
        """Make the edit with the seed of variation ``number``, from 0; :meth:`wait` for it. Raises :class:`FacemugError` where it
        is not there, and while something is being done."""
        self._idle()
        if not self._has_variations() or type(number) is not int or not 0 <= number < len(self._variations.shown):
            raise FacemugError(f"there is no variation {number!r}: Variations makes them of what is painted and set now")
        chosen = self._variations
        self._make(_varied(chosen.step, chosen.shown[number]["seed"]), {**chosen.snapshot, "seed": self.seed})

    def dismiss(self) -> None:
        """Take none of the variations."""
        self._variations = None
        self._tell_variations()

    def _has_variations(self) -> bool:
        return self._variations is not None and self._variations.are_of(self.session.current.number, self._snapshot())

    def _tell_variations(self) -> None:
        """Show variations while what they are of is painted and set, also when undo brings it back."""
        shown = list(self._variations.shown) if self._has_variations() else []
        if [one["seed"] for one in shown] != [one["seed"] for one in self.variations]:
            self.variations = shown

    def _on_vary(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self.vary(bool(content["more"]))

    def _on_take(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self.take(content["number"])

    def _on_dismiss(self, content: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        self.dismiss()


def _varied(step: Step, seed: int) -> Step:
    return step.seeded(seed, step.variety or VARIETY)


def _are_alike(images: Sequence[Tensor]) -> bool:
    return all(bool(torch.isclose(images[0], other, rtol=0, atol=ALIKE).all()) for other in images[1:])
