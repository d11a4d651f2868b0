"""The sibling systems: other published editors, each in one file with its networks, losses, stage and settings.

What the rest of the house asks of such a file, and nothing more:

- **Networks** are plain modules with ``config`` and ``from_config``, so that :mod:`facemug_lib.weights` writes and reads them.
- **Losses** are functions of tensors; what :mod:`facemug_lib.training.losses` and :mod:`facemug_lib.experts` have is used from
  there.
- **A stage** is one object with the members of :class:`facemug_lib.training.stage.Stage`. The common loop trains it: a system
  has no loop, no checkpoints and no logging of its own.
- **Settings** are one class beside the stage, a row per number with its unit and its basis, on top of
  :class:`facemug_lib.training.profiles.StageSettings`.
- **A method** for the judges has ``names``, ``describe()`` (everything that its pictures depend on) and ``__call__(cases)``, as
  :class:`facemug_lib.evaluation.methods.Method` says. It is made from the system and lives in :mod:`facemug_lib.evaluation`.

A system may import every room below this one. Nothing below may know of it, and no system knows another.
"""
