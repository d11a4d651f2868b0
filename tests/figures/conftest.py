"""The shared fixtures that these tests use."""

from fixtures import editor, faces, reading_editor, tiny  # noqa: F401
