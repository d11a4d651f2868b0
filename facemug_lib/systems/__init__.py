"""The sibling systems: other published editors, each in one file with its networks, losses, stage and settings.

**Use.** ``load("l2m_gan").edit(face, smile=1.0)`` edits a photograph, all of the face or under a mask, with the editor's own
result; ``names()`` says which systems there are. ``edited(load_system("l2m_gan"), images, {"smile": 1.0})`` are the bare pictures
of aligned faces. ``start_run("l2m_gan", "laptop")`` is the run that `facemug train l2m_gan --profile laptop` is.

**A system's file** ``facemug_lib/systems/NAME.py`` (a package of that name where it grows too long) has

- its **networks**, plain modules of one frozen configuration, so that :mod:`facemug_lib.weights` writes and reads them;
- its **losses**, functions of tensors; what :mod:`facemug_lib.training.losses` and :mod:`facemug_lib.experts` have is used from
  there;
- its **settings**, one class on top of :class:`.common.faces.SystemSettings`, a ``knob`` per number with its unit and its basis
  (``paper``, ``authors' code``, ``public code`` of others, or ``ours``);
- its **stage**, one class with the members of :class:`facemug_lib.training.stage.Stage` and
  :class:`facemug_lib.training.stage.StageClass`. The common loop trains it: a system has no loop, no checkpoints and no logging
  of its own. ``name`` is the file's, ``settings_class`` the settings, ``presets`` what each of the profiles ``smoke``, ``laptop``
  and ``paper`` changes, ``image_source = "faces"``; ``build(settings, device, init)`` makes the networks (``init`` goes to
  :func:`facemug_lib.training.start.start`), ``source(data, device)`` returns ``SystemFaces.of(self.settings, data, device)``;
  ``export`` gives ``{NAME: (tensors, config)}`` with ``"system": NAME`` and the trained attributes in ``config``: the networks
  that an edit needs, not their opponents, which resume states keep;
- its **system**, one class with the members of :class:`.common.contract.System`, and the line ``SYSTEM = ThatClass``.

That is all: the registry finds the file, and `facemug train NAME`, ``--set``, ``--profile``, ``numbers_table``, run folders and
their names work as for any stage. Nothing has to be inherited.

**Faces** (:class:`.common.faces.SystemFaces`). Each batch has ``images`` [b,3,s,s] in [-1,1], and in ``extra``

- ``traits`` [b,13]: what the expert reads, columns :data:`.common.rendering.TRAIT_NAMES`, NaN where a region is not to be seen;
- ``labels`` [b,s,s]: its parse, in CelebAMask-HQ order;
- ``pair``, ``pair_traits``, ``pair_labels``: the same face with one attribute moved along its calibrated direction to the other
  side of the average;
- ``strength`` [b,k]: by how much, from face to pair, in standard deviations, for the k attributes of the settings; 0 for all but
  one;
- ``has_pair`` [b]: false for photographs, whose pair is the photograph itself.

All is rendered and read once, kept on disk and shared between the systems and their runs. What only one system reads of every
face (action units, say) is a :class:`.common.faces.Reading` of its own. Faces that no training sees are
:meth:`.common.faces.SystemFaces.unseen` and :meth:`.common.faces.SystemFaces.unseen_photographs`;
:func:`.common.scores.pair_scores` judges edits against the known pair.

A system may import every room below this one and ``common``. Nothing below may know of it, and no system knows another.
"""

from facemug_lib.systems.common.contract import SystemAttribute, edited
from facemug_lib.systems.common.registry import (
    any_stage,
    images_seen,
    load_system,
    names,
    plan_run,
    start_run,
    system_class,
)
from facemug_lib.systems.common.using import SystemEditor, Systems, load

__all__ = ["SystemAttribute", "SystemEditor", "Systems", "any_stage", "edited", "images_seen", "load", "load_system", "names",
           "plan_run", "start_run", "system_class"]
