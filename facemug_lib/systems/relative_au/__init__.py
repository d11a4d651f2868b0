"""Relative action units: an expression is edited by saying how much each facial action unit is to change.

Ling et al., "Toward Fine-grained Facial Expression Manipulation", ECCV 2020. Taught in `notebooks/14_relative_au.ipynb`.
"""

from facemug_lib.systems.relative_au.system import RelativeAu

SYSTEM = RelativeAu
