from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch

from facemug_lib.editing.drawing import Drawing, read_face
from facemug_lib.editing.editor import Edit, Editor
from facemug_lib.editing.known_faces import sampled_codes, sampled_face
from facemug_lib.editing.latent.directions import constant
from facemug_lib.editing.result import EditResult
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import open_face
from facemug_lib.modalities.semantics import PALETTE


@pytest.fixture(scope="module")
def aligned(astronaut):
    return open_face(astronaut)


@pytest.fixture(scope="module")
def photo_mask(astronaut) -> np.ndarray:
    """A free stroke over the astronaut's eyes and cheek, drawn on the photo."""
    import cv2

    mask = np.zeros(astronaut.shape[:2], np.uint8)
    cv2.polylines(mask, [np.array([[195, 100], [230, 105], [250, 120], [225, 150]])], False, 255, 14)
    return mask


def outside(mask, image):
    return image[(mask < 0.5).expand_as(image)]


# -- what an edit leaves alone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refine", [0, 3])
def test_outside_the_mask_every_bit_stays(editor, face, mask, refine) -> None:
    result = editor.edit(face, mask, refine=refine, progress=lambda done, total: None)
    assert torch.equal(outside(mask, result.image), outside(mask, face))
    assert not torch.equal(result.image, face)
    assert result.image.shape == result.raw.shape == (1, 3, 256, 256)
    assert set(result.timings) == {"read", "encode", "paint", "blend"} | ({"refine"} if refine else set())


def test_outside_the_mask_the_photo_stays_at_full_size(editor, astronaut, aligned, photo_mask) -> None:
    result = editor.edit(aligned, photo_mask)
    pasted = result.paste_back()
    assert pasted.shape == astronaut.shape and pasted.dtype == astronaut.dtype
    assert np.array_equal(pasted[photo_mask == 0], astronaut[photo_mask == 0])
    assert (pasted[photo_mask > 0] != astronaut[photo_mask > 0]).any()


# -- purity ---------------------------------------------------------------------------------------------------------------


def test_same_inputs_same_pixels(editor, face, mask) -> None:
    first, second = (editor.edit(face, mask, refine=2, seed=3, progress=lambda d, t: None) for _ in range(2))
    assert torch.equal(first.image, second.image) and torch.equal(first.codes, second.codes)


def test_global_randomness_has_no_say(editor, face, mask) -> None:
    torch.manual_seed(1)
    first = editor.edit(face, mask)
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    second = editor.edit(face, mask)
    assert torch.equal(first.image, second.image)
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_seed_decides_the_more_the_less_is_known(editor, face, mask) -> None:
    def change(where: torch.Tensor, **guidance) -> float:
        first, second = (editor.edit(face, where, seed=seed, **guidance).codes for seed in (0, 1))
        return float((first - second).abs().mean())

    everything = torch.ones_like(mask)
    assert 0 < change(mask) < 0.2 * change(everything)
    assert change(everything, colour=face) < change(everything)


def test_exemplar_replaces_the_random_code(editor, face, mask) -> None:
    exemplar = face.flip(-1)
    codes = [editor.edit(face, mask, exemplar=exemplar, seed=seed).codes for seed in (0, 1)]
    assert torch.equal(*codes)
    halves = [editor.edit(face, mask, exemplar=exemplar, seed=seed, influence={"exemplar": 0.5}).codes for seed in (0, 1)]
    assert not torch.equal(*halves)
    ignored = editor.edit(face, mask, exemplar=exemplar, influence={"exemplar": 0})
    assert torch.equal(ignored.image, editor.edit(face, mask).image)


def test_influence_reaches_the_codes_in_proportion(editor, face, mask) -> None:
    codes = {weight: editor.edit(face, mask, colour=face.flip(1), sketch=mask, influence={"colour": weight}).codes
             for weight in (0.5, 1, 2)}
    step = codes[2] - codes[1]
    assert step.abs().max() > 0 and torch.allclose(codes[1] - codes[0.5], step / 2, atol=0.02 * float(step.abs().max()))


def test_influence_zero_is_as_if_not_given(editor, face, mask) -> None:
    off = editor.edit(face, mask, colour=face, influence={"colour": 0})
    assert torch.equal(off.image, editor.edit(face, mask).image)
    weak, strong = (editor.edit(face, mask, colour=face, influence={"colour": w}).contributions[:, 3].mean() for w in (0.3, 2))
    assert weak < strong


def test_a_batch_is_its_edits(editor, face, mask) -> None:
    edits = [Edit(face, mask), Edit(face.flip(-1), mask.roll(30, -1), colour=face, exemplar=face)]
    both = editor.edit_many(edits)
    for edit, made in zip(edits, both, strict=True):
        alone = editor.edit(edit.face, edit.mask, colour=edit.colour, exemplar=edit.exemplar)
        assert torch.allclose(made.image, alone.image, atol=1e-4)
        assert torch.equal(made.conditions.mask, edit.mask)


# -- guidance as drawn ----------------------------------------------------------------------------------------------------


def test_photo_and_aligned_guidance_agree(aligned, astronaut, photo_mask) -> None:
    """What is drawn on the photo, brought to the crop by the aligner, reads the same as a drawing on the crop."""
    on_photo, on_crop = Drawing.on(aligned, "photo"), Drawing.on(aligned, "aligned")
    colours = np.zeros((*astronaut.shape[:2], 3), np.uint8)
    colours[60:200, 150:300] = (200, 30, 90)
    labels = np.full(astronaut.shape[:2], 255, np.uint8)
    labels[60:200, 150:300] = 13
    pairs = [(on_photo.mask(photo_mask), on_crop.mask(aligned.to_crop(photo_mask, "max"))),
             (on_photo.sketch(255 - photo_mask), on_crop.sketch(255 - aligned.to_crop(photo_mask, "max"))),
             (on_photo.semantics(labels), on_crop.semantics(np.where(aligned.to_crop(255 - labels, "nearest") > 0, 13, 255)
                                                            .astype(np.uint8)))]
    for first, second in pairs:
        assert torch.equal(first, second)
    colour = on_photo.colour(colours)
    painted = (colour != 0).any(1)[0]
    values = colour[0, :, painted] * 127.5 + 127.5
    assert (values - torch.tensor([200.0, 30.0, 90.0])[:, None]).abs().max() < 1  # no darkened rim
    assert (painted ^ (on_photo.semantics(labels)[0] == 13)).sum() < 0.03 * painted.sum()


def test_a_face_tensor_has_one_frame(editor, face, mask) -> None:
    drawn = (mask[0, 0].numpy() * 255).astype(np.uint8)
    first, second = (editor.edit(face, drawn, guidance_frame=frame) for frame in ("photo", "aligned"))
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.image, editor.edit(face, mask).image)


def test_a_photo_with_the_hole_erased_is_its_mask(aligned, astronaut, photo_mask) -> None:
    erased = np.dstack([astronaut, 255 - photo_mask])
    drawing = Drawing.on(aligned, "photo")
    assert torch.equal(drawing.mask(erased), drawing.mask(photo_mask))
    first, second = (aligned.paste_back(-aligned.image, mask, frame="photo") for mask in (erased, photo_mask))
    assert np.array_equal(first, second)
    painted_white = np.where(photo_mask[..., None] > 0, 255, astronaut).astype(np.uint8)
    with pytest.raises(FacemugError, match="the mask is a picture of many tones"):
        drawing.mask(painted_white)


def test_sketches_dark_bright_and_transparent_mean_the_same(face) -> None:
    drawing = Drawing.on(read_face(face), "aligned")
    strokes = np.zeros((256, 256), np.uint8)
    strokes[100:104, 60:200] = 255
    clear = np.dstack([np.zeros((256, 256, 3), np.uint8), strokes])
    expected = torch.from_numpy((strokes > 0).astype(np.float32))[None, None]
    for picture in (strokes, 255 - strokes, clear, PIL.Image.fromarray(255 - strokes)):
        assert torch.equal(drawing.sketch(picture), expected)


def test_label_pictures_by_index_and_by_colour(face) -> None:
    drawing = Drawing.on(read_face(face), "aligned")
    index = np.full((256, 256), 255, np.uint8)
    index[10:50, 20:60] = 4
    colours = np.full((256, 256, 3), 255, np.uint8)
    colours[10:50, 20:60] = PALETTE[4]
    assert torch.equal(drawing.semantics(index), drawing.semantics(colours))
    assert drawing.semantics(index).unique().tolist() == [-1, 4]


def test_unpainted_is_black_or_transparent(face) -> None:
    drawing = Drawing.on(read_face(face), "aligned")
    rgb = np.zeros((256, 256, 3), np.uint8)
    rgb[30:60, 30:60] = (255, 128, 0)
    rgba = np.dstack([rgb, (rgb.any(2) * 255).astype(np.uint8)])
    rgba[200:, :, 0] = 77  # a colour under full transparency
    assert torch.equal(drawing.colour(rgb), drawing.colour(rgba))
    black = np.zeros((256, 256, 4), np.uint8)
    black[:20, :, 3] = 255
    assert (drawing.colour(black)[0, :, :20] == -1).all()  # black is a colour where transparency says what is painted


# -- bad inputs -----------------------------------------------------------------------------------------------------------

WRONG = {
    "an empty mask": (dict(mask=np.zeros((256, 256), np.uint8)), "the mask is empty: paint white"),
    "a mask of another size": (dict(mask=np.full((128, 128), 255, np.uint8)), "the mask is 128x128 but the photo has 256x256"),
    "a mask tensor of another shape": (dict(mask=torch.ones(1, 256, 256)), r"the mask tensor has shape \[1, 256, 256\]: give"),
    "a grey mask tensor": (dict(mask=torch.full((1, 1, 256, 256), 0.3)), "mask has values from 0.3 to 0.3, not only 0 and 1"),
    "no mask file": (dict(mask="nowhere.png"), "no file nowhere.png"),
    "a sketch of another size": (dict(sketch=np.zeros((100, 256), np.uint8)), "the sketch is 256x100 but"),
    "a blank sketch": (dict(sketch=np.full((256, 256), 255, np.uint8)), "the sketch is blank"),
    "a sketch beside the mask": (dict(sketch=np.pad(np.zeros((3, 256), np.uint8), ((0, 253), (0, 0)), constant_values=255)),
                                 "the sketch guidance says nothing inside the mask"),
    "an unpainted colour": (dict(colour=np.zeros((256, 256, 3), np.uint8)), "the colour picture is unpainted"),
    "labels out of range": (dict(semantics=np.full((256, 256), 40, np.uint8)), "label map holds the value 40"),
    "labels of another size": (dict(semantics=np.full((64, 64), 1, np.uint8)), "the label map is 64x64 but"),
    "float labels": (dict(semantics=torch.ones(1, 256, 256)), "give whole-number labels"),
    "an exemplar without a face": (dict(exemplar=np.zeros((200, 200, 3), np.uint8)), "exemplar: no face found"),
    "an unknown influence": (dict(influence={"colours": 1}), "influence names 'colours': choose from image, sketch"),
    "a negative influence": (dict(influence={"sketch": -1}), "influence of sketch is -1: use a number from 0"),
    "negative refinement": (dict(refine=-1), r"-1 refinement steps \(--refine\): use 0 or more, auto, or a schedule"),
    "an unknown frame": (dict(guidance_frame="crop"), "guidance frame 'crop': use photo or aligned"),
    "a face of another size": (dict(face=torch.zeros(1, 3, 128, 128)), r"a face tensor of shape \[1, 3, 128, 128\]"),
    "a photo without a face": (dict(face=np.zeros((300, 300, 3), np.uint8)), "no face found"),
}


@pytest.mark.parametrize("what", WRONG)
def test_bad_inputs_get_one_line(editor, face, mask, what) -> None:
    arguments, message = WRONG[what]
    with pytest.raises(FacemugError, match=message) as caught:
        editor.edit(**{"face": face, "mask": mask, **arguments})
    assert "\n" not in str(caught.value)


def test_no_edit_at_all(editor) -> None:
    with pytest.raises(FacemugError, match="no edit was given"):
        editor.edit_many([])


def test_missing_weights_name_the_command(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FACEMUG_WEIGHTS", str(tmp_path))
    with pytest.raises(FacemugError, match="facemug train head --install"):
        Editor.load("cpu")
    with pytest.raises(FacemugError, match="is not a folder"):
        Editor.load("cpu", weights=tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FacemugError, match="holds none of prior_heads.safetensors"):
        Editor.load("cpu", weights=tmp_path / "empty")


# -- attributes -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def smiling(editor, monkeypatch) -> Editor:
    """The editor with one direction that every picture follows."""
    light = constant("light", -editor.prior.paint.mean(1).view(17, 512).sum(0), "factor")
    monkeypatch.setattr(editor, "_directions", {"light": light.scaled(0.05 / float(light.vector[0].norm()), "tests")})
    return editor


@pytest.mark.parametrize("refine", [0, 2])
def test_attributes_alter_what_is_under_the_mask(smiling, face, mask, refine) -> None:
    def edit(strength: float) -> EditResult:
        return smiling.edit(face, mask, attributes={"light": strength}, refine=refine, progress=lambda done, total: None)

    dark, light = edit(4.0), edit(-4.0)
    assert torch.equal(outside(mask, dark.image), outside(mask, face))
    assert (light.raw - dark.raw).mean() > 0.01 and (light.image != dark.image).any()
    assert torch.equal(light.conditions.mask, mask)
    # Without a change of codes nothing changes: the person under the mask is known.
    assert (edit(0.0).image - face).abs().max() < 1e-4


def test_attributes_with_guidance_start_from_the_hole(smiling, face, mask) -> None:
    sketch = torch.zeros(1, 1, 256, 256)
    sketch[..., 120:124, 100:150] = 1
    plain, moved = (smiling.edit(face, mask, sketch=sketch, attributes=wanted) for wanted in (None, {"light": -2.0}))
    step = smiling.directions["light"].vector * -2
    assert torch.allclose(moved.codes - plain.codes, step[None], atol=1e-5)


def test_batches_may_mix_attributes(smiling, face, mask) -> None:
    edits = [Edit(face, mask), Edit(face, mask, attributes={"light": 2.0}), Edit(face, mask, seed=1)]
    together = smiling.edit_many(edits)
    for one, edit in zip(together, edits, strict=True):
        assert torch.allclose(one.image, smiling.edit_many([edit])[0].image, atol=2e-4)


def test_unknown_attributes_are_refused(smiling, face, mask) -> None:
    with pytest.raises(FacemugError, match="no attribute is called 'joy': choose from light"):
        smiling.edit(face, mask, attributes={"joy": 1.0})
    with pytest.raises(FacemugError, match="use a number from -10 to 10"):
        smiling.edit(face, mask, attributes={"light": float("inf")})


# -- faces whose codes are known ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("everything", [False, True])
def test_a_fitted_face_edits_as_refining_does(smiling, face, mask, everything) -> None:
    where = torch.ones_like(mask) if everything else mask
    steps: list[tuple[int, int]] = []
    fitted = smiling.fit(face, 3, lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)] and fitted.codes.shape == (1, 17, 512) and torch.equal(fitted.image, face)
    assert torch.equal(fitted.likeness, smiling.prior.synthesize(fitted.codes, 256))
    wanted = smiling.edit(face, where, attributes={"light": 2.0}, refine=3, progress=lambda done, total: None)
    for refine in (0, 3):  # nothing is left to refine
        found = smiling.edit(fitted, where, attributes={"light": 2.0}, refine=refine, progress=lambda done, total: None)
        assert torch.equal(found.image, wanted.image) and torch.equal(found.codes, wanted.codes)
        assert torch.equal(found.raw, wanted.raw) and found.contributions.shape == wanted.contributions.shape
        assert torch.equal(found.contributions[:, 0], torch.ones(1, 256, 256)) and not found.contributions[:, 1:].any()


def test_a_face_is_fitted_by_steps(smiling, face) -> None:
    with pytest.raises(FacemugError, match="0 steps to fit a face: use 1 or more"):
        smiling.fit(face, 0)


def test_batches_may_mix_known_and_unknown_faces(smiling, face, mask) -> None:
    sampled = sampled_face(smiling.prior, 4)
    edits = [Edit(face, mask, attributes={"light": 2.0}), Edit(sampled, mask, attributes={"light": 1.0}),
             Edit(sampled, mask, seed=2), Edit(smiling.fit(face, 1, lambda done, total: None), mask, attributes={"light": -1.0})]
    for refine in (0, 1):
        together = smiling.edit_many(edits, refine=refine, progress=lambda done, total: None)
        for one, edit in zip(together, edits, strict=True):
            alone = smiling.edit_many([edit], refine=refine, progress=lambda done, total: None)[0]
            assert torch.allclose(one.image, alone.image, atol=2e-4)
        assert [one.known_loss is None for one in together] == [not refine, True, not refine, True]


def test_an_edited_face_is_no_longer_known(smiling) -> None:
    sampled = sampled_face(smiling.prior, 4, psi=0.5)
    assert torch.equal(sampled.image, open_face(sampled.likeness.clamp(-1, 1), aligned=True).image)
    assert 0 < float((sampled.image - sampled.likeness.clamp(-1, 1)).abs().max()) <= 0.5 / 127.5 + 1e-6
    result = smiling.edit(sampled, torch.ones(1, 1, 256, 256), attributes={"light": 2.0})
    later = sampled.repainted(result.paste_back())
    assert later.codes is None and later.likeness is None


def test_mixing_takes_groups_of_layers(editor) -> None:
    own, other = (sampled_codes(editor.prior, seed) for seed in (1, 2))
    mixed = sampled_codes(editor.prior, 1, mix_seed=2, mix_layers=["middle"])
    assert torch.equal(mixed[:, 4:10], other[:, 4:10]) and torch.equal(mixed[:, :4], own[:, :4])
    assert torch.equal(mixed[:, 10:], own[:, 10:])
    with pytest.raises(FacemugError, match="no group of codes is called 'rough': choose from coarse"):
        sampled_codes(editor.prior, 1, mix_seed=2, mix_layers=["rough"])


def test_further_directions_leave_the_editor_alone(editor, smiling) -> None:
    more = editor.with_directions({"darkness": smiling.directions["light"]})
    assert "darkness" in more.directions and "darkness" not in editor.directions and more.prior is editor.prior
