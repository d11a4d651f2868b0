from __future__ import annotations

import pytest
import torch

from facemug_lib.editing.fill.refine import RefineSettings, refine
from facemug_lib.errors import FacemugError
from facemug_lib.modalities.conditions import Conditions


def run(editor, face, mask, steps=25, **options):
    guidance = {name: options.pop(name) for name in ("sketch", "semantics", "colour") if name in options}
    conditions = Conditions.build(mask, face, **guidance)
    starts = options.pop("starts", [editor.prior.broadcast(editor.prior.mean_w[None]).repeat(len(face), 1, 1)])
    settings = options.pop("settings", RefineSettings(pull=0.0, spread=0.0))
    return refine(editor.prior, conditions, face, starts, steps, editor.experts(True, True), settings=settings, **options)


def test_the_known_pixels_are_met_better(editor, face, mask) -> None:
    result = run(editor, face, mask)
    assert result.known_loss.shape == (26, 1)
    assert result.known_loss[-1] < 0.5 * result.known_loss[0]
    assert torch.equal(result.image, editor.prior.synthesize(result.codes))


def test_what_is_under_the_mask_is_never_looked_at(editor, face, mask) -> None:
    other = torch.where(mask > 0.5, -face, face)
    assert torch.equal(run(editor, face, mask, 6).codes, run(editor, other, mask, 6).codes)


def test_each_edit_of_a_batch_goes_its_own_way(editor, face, mask) -> None:
    faces, masks = torch.cat((face, face.flip(-1))), torch.cat((mask, mask.roll(40, -1)))
    both = run(editor, faces, masks, 6)
    alone = run(editor, faces[1:], masks[1:], 6)
    assert torch.allclose(both.codes[1:], alone.codes, atol=1e-4)


def test_the_better_start_is_taken(editor, face, mask) -> None:
    good = run(editor, face, mask).codes
    mean = editor.prior.broadcast(editor.prior.mean_w[None])
    result = run(editor, face, mask, 1, starts=[mean, good])
    assert result.known_loss[0] < run(editor, face, mask, 1, starts=[mean]).known_loss[0]


def test_the_pull_keeps_codes_near_the_anchor(editor, face, mask) -> None:
    def distance(pull: float) -> float:
        codes = run(editor, face, mask, settings=RefineSettings(pull=pull)).codes
        return float((codes.mean(1) - editor.prior.mean_w).square().mean())

    assert distance(2.0) < 0.5 * distance(0.0)


def mean_in_hole(image, mask):
    return (image * mask).sum((2, 3)) / mask.sum()


def test_colour_is_obeyed(editor, face, mask) -> None:
    wanted = torch.tensor([0.8, -0.6, 0.4]).view(1, 3, 1, 1)
    with_colour = run(editor, face, mask, colour=(wanted * mask))
    without = run(editor, face, mask)
    errors = [(mean_in_hole(one.image, mask) - wanted[..., 0, 0]).abs().mean() for one in (with_colour, without)]
    assert errors[0] < 0.5 * errors[1]


def test_labels_are_obeyed(editor, face, mask) -> None:
    bright, dark = (run(editor, face, mask, semantics=torch.where(mask[:, 0] > 0.5, label, -1).long()).image for label in (1, 17))
    assert mean_in_hole(bright, mask).mean() > mean_in_hole(dark, mask).mean() + 0.2


def test_an_exemplar_draws_its_colours(editor, face, mask) -> None:
    exemplar = torch.full_like(face, 0.9)
    drawn, free = run(editor, face, mask, exemplar=exemplar), run(editor, face, mask)
    assert mean_in_hole(drawn.image, mask).mean() > mean_in_hole(free.image, mask).mean() + 0.1
    off = run(editor, face, mask, exemplar=exemplar, has_exemplar=torch.tensor([False]))
    assert torch.allclose(off.codes, free.codes, atol=1e-5)


def test_a_sketch_moves_the_picture_and_influence_scales_it(editor, face, mask) -> None:
    sketch = torch.zeros_like(mask)
    sketch[..., 128:131, 80:190] = 1
    free = run(editor, face, mask, 8).codes
    assert not torch.equal(run(editor, face, mask, 8, sketch=sketch).codes, free)
    assert torch.equal(run(editor, face, mask, 8, sketch=sketch, influence={"sketch": 0.0}).codes, free)


def test_progress_counts_and_may_stop(editor, face, mask) -> None:
    seen = []
    run(editor, face, mask, 3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(editor, face, mask, 3, progress=stop)


def test_headless_progress_is_plain_lines(editor, face, mask, capsys) -> None:
    run(editor, face, mask, 4, show=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"refining: step {n} of 4" for n in (1, 2, 3, 4)]


def test_missing_judges_are_named(editor, face, mask) -> None:
    from facemug_lib.editing.fill.refine import Experts

    conditions = Conditions.build(mask, face, semantics=torch.ones(1, 256, 256, dtype=torch.long))
    with pytest.raises(FacemugError, match="facemug train expert"):
        refine(editor.prior, conditions, face, [editor.prior.broadcast(editor.prior.mean_w[None])], 1,
               Experts(editor.experts(False, False).perceptual))


def test_a_schedule_meets_the_known_pixels(editor, face, mask) -> None:
    result = run(editor, face, mask, "64x15+128x5")
    assert result.known_loss.shape == (21, 1)
    assert result.known_loss[-1] < 0.5 * result.known_loss[0]


def test_a_finer_stage_goes_on_from_the_best_codes(editor, face, mask) -> None:
    too_fast = RefineSettings(lr_shared=20.0, lr_codes=20.0)  # nothing is better than the start
    result, start = (run(editor, face, mask, schedule, settings=too_fast) for schedule in ("64x3+128x1", "128x1"))
    assert result.known_loss[2] > 2 * result.known_loss[0]
    assert result.known_loss[3] == pytest.approx(float(start.known_loss[0]), rel=1e-3)
