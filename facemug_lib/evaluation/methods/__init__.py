"""What is compared: FACEMUG, and what can be had without it.

Every method sees the same :class:`~facemug_lib.evaluation.cases.Cases` and changes nothing but the hole. The simple ones say what
a number means. Masked latent optimisation is the strong baseline: it needs only the prior, and minutes of patience.

Each kind of method has a file of its own, because what a file imports is what its pictures depend on
(:mod:`facemug_lib.evaluation.code_keys`).

Taught in `notebooks/09_evaluation.ipynb`.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from facemug_lib.editing.editor import Editor
from facemug_lib.evaluation.cases import Cases
from facemug_lib.evaluation.methods.facemug import Facemug
from facemug_lib.evaluation.methods.inversion import Inversion
from facemug_lib.evaluation.methods.optimisation import Optimisation
from facemug_lib.evaluation.methods.simple import ExemplarPaste, MeanColour, Telea


class Method(Protocol):
    """One way of filling holes, or several that share their work.

    names: the rows it yields. ``describe()``: plain data that changes with everything its pictures depend on besides the cases
    (settings, weights, code); part of the cache's key.
    """

    names: tuple[str, ...]

    def describe(self) -> dict[str, Any]: ...

    def __call__(self, cases: Cases) -> dict[str, Tensor]:
        """Row name → pictures [n,3,256,256] in [-1,1] on the 8-bit grid, on the CPU; outside the holes the cases' own, bit for
        bit."""
        ...


def default_methods(editor: Editor, refine: int = 0, optimise: bool = True) -> list[Method]:
    """FACEMUG and every baseline, in the table's order; ``optimise=False`` leaves out the one that takes seconds per face."""
    methods: list[Method] = [Facemug(editor, refine), MeanColour(), Telea(), ExemplarPaste(), Inversion(editor)]
    return [*methods, Optimisation(editor)] if optimise else methods
