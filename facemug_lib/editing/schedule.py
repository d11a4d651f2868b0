"""How the codes of an edit are refined: a number of steps, or a schedule from coarse pictures to fine ones.

A number of steps is made as it always was. A schedule, ``"64x6+128x3"`` say, is six steps on pictures of 64 px and then three on
pictures of 128 px; ``"auto"`` is short for :data:`AUTO`. It is a fixed schedule, and an edit keeps it in place of the word: what
is recorded makes the same picture on a machine of any speed, and still does when ``"auto"`` has come to mean something else.

Nothing heavy is imported here, as in :mod:`.edit`.
"""

from __future__ import annotations

import re

from facemug_lib.errors import FacemugError

AUTO = "128x4"
"""The schedule of ``refine="auto"``, about 3 s beside the pass on one core.

On nine photographs (centre, face and irregular holes) it took 5 % off LPIPS-VGG and 7 % off LPIPS-AlexNet, and on three it added
0.03 to the F1 of sketches: two thirds of what ``refine=8`` gains, in half the time. ``64x6+128x3`` is dearer and met the known
pixels better, but obeyed sketches less than one pass does. It is not the default: FaceNet's likeness fell from 0.55 to 0.51 (0.53
with ``refine=8``), and faces under a colour turned flat, 0.8 further from it in ΔE, with ``refine=8`` as well.
"""
MOST_STEPS = 10_000
PATTERN = r"^(64|128|256)x[1-9]\d{0,3}(\+(64|128|256)x[1-9]\d{0,3})*$"
"""What a schedule looks like: the prior has a picture head for each of these sizes."""


def checked_refine(refine: int | str) -> int | str:
    """``refine`` as edits keep it: a number of steps, 0 or more, or a schedule; ``"auto"`` becomes its schedule, and digits their
    number. Raises :class:`FacemugError` for anything else."""
    if isinstance(refine, str):
        text = refine.strip()
        if text == "auto":
            return AUTO
        if re.fullmatch(r"\d{1,5}", text):
            refine = int(text)
        elif re.fullmatch(PATTERN, text):
            sizes = [size for size, _ in stages(text)]
            if sizes != sorted(sizes):
                raise FacemugError(f"refinement {refine!r}: go from small pictures to large ones, such as {AUTO}")
            return text
    if isinstance(refine, bool) or not isinstance(refine, int) or refine < 0:
        raise FacemugError(f"{refine!r} refinement steps (--refine): use 0 or more, auto, or a schedule such as {AUTO}")
    return refine


def stages(schedule: str) -> list[tuple[int, int]]:
    """(picture size, steps) of each stage of a schedule."""
    return [(int(size), int(count)) for size, count in (stage.split("x") for stage in schedule.split("+"))]


def step_count(refine: int | str) -> int:
    """How many steps that is, of an edit's ``refine``."""
    return refine if isinstance(refine, int) else sum(count for _, count in stages(refine))


def described(refine: int | str) -> str:
    """Such as "8 refinement steps" or "4 refinement steps (128x4)"."""
    return f"{step_count(refine)} refinement steps" + ("" if isinstance(refine, int) else f" ({refine})")
