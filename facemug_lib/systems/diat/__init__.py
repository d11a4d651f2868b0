"""DIAT and DIAT-A: identity-aware transfer of expression, glasses, age and gender.

:mod:`.networks`, :mod:`.losses`, :mod:`.references` (what a face shall have), :mod:`.stage` (settings and training),
:mod:`.system` (editing). Taught in `notebooks/15_diat.ipynb`.
"""

from facemug_lib.systems.diat.system import Diat

SYSTEM = Diat
