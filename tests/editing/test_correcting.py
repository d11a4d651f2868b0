"""A generator that corrects the photo in whose hole the prior's picture is settled, in place of that picture itself."""

from __future__ import annotations

import torch
from tiny import steerable_editor
from torch import nn

from facemug_lib.editing.editor import Editor
from facemug_lib.models.generator import GeneratorConfig, GeneratorOutput


class Adding(nn.Module):
    """A generator of 64 px that adds the same everywhere."""

    config = GeneratorConfig(widths=(8,) * 5, bank_channels=(0,) * 5, code_layers=((0, 0, 0),) * 5, base="settled")

    def __init__(self, added: float) -> None:
        super().__init__()
        self.added = added

    def forward(self, conditions, codes, features, prior_image, influence=None) -> GeneratorOutput:
        assert conditions.mask.shape[-1] == prior_image.shape[-1] == 64
        return GeneratorOutput(prior_image + self.added, torch.full((len(codes), 4, 64, 64), 0.25))


def correcting(editor: Editor, added: float) -> Editor:
    return Editor(editor.prior, editor.encoder, editor.warping, Adding(added), experts=editor._experts)


def test_a_generator_that_adds_nothing_leaves_the_settled_photo(editor, face, mask) -> None:
    plain, made = editor.edit(face, mask, seed=3), correcting(editor, 0.0).edit(face, mask, seed=3)
    assert torch.allclose(made.image, plain.image, atol=1e-6) and torch.allclose(made.raw, plain.raw, atol=1e-6)


def test_what_it_adds_is_added_in_the_hole_alone(editor, face, mask) -> None:
    plain, made = editor.edit(face, mask, seed=3), correcting(editor, 0.1).edit(face, mask, seed=3)
    hole = mask.expand_as(face) > 0.5
    assert torch.equal(made.image[~hole], face[~hole])
    assert torch.allclose(made.image[hole], (plain.image[hole] + 0.1).clamp(-1, 1), atol=1e-5)
    assert float(made.contributions.min()) == float(made.contributions.max()) == 0.25


def test_it_adds_nothing_where_the_prior_alone_is_shown(face, mask) -> None:
    """Refined codes were fitted to the prior's own picture, and a face that is only altered keeps its own detail."""
    steered = steerable_editor()
    adding = correcting(steered, 0.1).with_directions(steered.directions)
    for wanted in ({"refine": 2}, {"attributes": {"light": 1.0}}):
        made, plain = (one.edit(face, mask, **wanted).image for one in (adding, steered))
        assert torch.allclose(made, plain, atol=1e-6), wanted
