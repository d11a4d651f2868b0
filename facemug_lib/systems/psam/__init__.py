"""PSAM: personalised spatial-aware affine modulation, for makeup, expression, illumination and aging.

:mod:`.networks`, :mod:`.losses`, :mod:`.tasks` with :mod:`.makeup`, :mod:`.stage` (settings and training), :mod:`.transfer`
(transferable training), :mod:`.system` (editing). Taught in `notebooks/12_psam.ipynb`.
"""

from facemug_lib.systems.psam.system import Psam

SYSTEM = Psam
