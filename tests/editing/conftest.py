"""The shared fixtures that these tests use."""

from fixtures import astronaut, editor, face, mask, reading_editor  # noqa: F401
