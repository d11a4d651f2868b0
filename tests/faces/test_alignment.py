"""Photo → aligned crop → back into the photo."""

from __future__ import annotations

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
from skimage import data

from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace, crop_photo, ffhq_matrix, open_face, structure_kept
from facemug_lib.faces.landmarks import FaceAnalyzer, eye_centres, mouth_corners
from facemug_lib.faces.photos import read_photo
from facemug_lib.faces.warping import compose, resize_matrix, transform_points, warp

SIZE = 64


@pytest.fixture(scope="module")
def analyzer() -> FaceAnalyzer:
    return FaceAnalyzer(threads=1)


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return data.astronaut()


@pytest.fixture(scope="module")
def face(astronaut, analyzer):
    return open_face(astronaut, size=SIZE, analyzer=analyzer)


def _mask(top: int, bottom: int, left: int, right: int, size: int = SIZE) -> torch.Tensor:
    mask = torch.zeros(1, 1, size, size)
    mask[..., top:bottom, left:right] = 1
    return mask


def _in_crop(face: AlignedFace) -> np.ndarray:
    """The landmarks [106, 2] in crop coordinates."""
    return transform_points(face.matrix, face.landmarks)


def test_framing_follows_ffhq(face):
    left, right = eye_centres(_in_crop(face))
    mouth = mouth_corners(_in_crop(face)).mean(axis=0)
    eyes = (left + right) / 2
    middle = (SIZE - 1) / 2
    assert face.image.shape == (1, 3, SIZE, SIZE) and face.image.abs().max() <= 1
    # The centre lies a tenth of the way from eyes to mouth, and the larger of the two distances sets the scale.
    assert eyes + 0.1 * (mouth - eyes) == pytest.approx([middle, middle], abs=1e-6)
    half = max(2 * np.linalg.norm(right - left), 1.8 * np.linalg.norm(mouth - eyes))
    assert half == pytest.approx(SIZE / 2, rel=1e-6)


def test_crop_of_a_crop_stays(astronaut, analyzer):
    crop = open_face(astronaut, analyzer=analyzer).image
    matrix = open_face(crop, analyzer=analyzer).matrix
    corners = np.array([[0, 0], [255, 0], [0, 255], [255, 255]])
    assert transform_points(matrix, corners) == pytest.approx(corners, abs=6)


@pytest.mark.parametrize("angle", [-25, 20])
def test_turned_photo_gives_the_same_crop(astronaut, analyzer, face, angle):
    turn = cv2.getRotationMatrix2D((225, 120), angle, 1.3)
    turned = warp(astronaut, turn, (512, 512)).clip(0, 255).round().astype(np.uint8)
    again = open_face(turned, size=SIZE, analyzer=analyzer)
    inner = slice(8, 56)
    assert (again.image - face.image)[..., inner, inner].abs().mean() < 0.06


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_whichever_way_up_the_crop_is_that_of_the_upright_photo(astronaut, analyzer, turns):
    head = np.ascontiguousarray(astronaut[:256, 96:352])
    upright, turned = (open_face(one, analyzer=analyzer).image for one in (head, np.ascontiguousarray(np.rot90(head, turns))))
    assert float((turned - upright).abs().mean()) * 127.5 < 0.2


def test_reading_16_bit_grey_alpha_float(tmp_path, astronaut, analyzer, face):
    for name, variant in {
        "deep": astronaut.astype(np.uint16) * 257,
        "alpha": np.dstack([astronaut, np.full((512, 512), 9, np.uint8)]),
        "float": astronaut.astype(np.float32) / 255,
    }.items():
        same = open_face(variant, size=SIZE, analyzer=analyzer)
        assert torch.allclose(same.image, face.image, atol=2e-3), name
    grey = open_face(np.asarray(PIL.Image.fromarray(astronaut).convert("L")), size=SIZE, analyzer=analyzer)
    assert grey.image.shape == (1, 3, SIZE, SIZE) and torch.equal(grey.image[:, 0], grey.image[:, 2])
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(np.rot90(astronaut)).save(tmp_path / "turned.png", exif=exif)
    assert torch.equal(open_face(tmp_path / "turned.png", size=SIZE, analyzer=analyzer).image, face.image)


def _variants(astronaut):
    yield "rgb", astronaut
    yield "deep", astronaut.astype(np.uint16) * 257 - 100 * (astronaut > 0).astype(np.uint16)
    yield "alpha", np.dstack([astronaut, np.random.default_rng(0).integers(0, 256, (512, 512), dtype=np.uint8)])
    yield "grey", np.asarray(PIL.Image.fromarray(astronaut).convert("L"))
    yield "float", astronaut.astype(np.float32) / 255


def test_outside_the_mask_is_bit_identical(astronaut, face):
    mask = _mask(20, 50, 10, 40)
    generator = torch.Generator().manual_seed(0)
    edited = torch.rand(face.image.shape, generator=generator) * 2 - 1
    photo_mask = np.zeros((512, 512), np.uint8)
    photo_mask[100:160, 200:240] = 255
    for name, variant in _variants(astronaut):
        aligned = _like(face, variant)
        for frame, given, region in (("aligned", mask, aligned.mask_to_photo(mask)), ("photo", photo_mask, photo_mask > 0)):
            result = aligned.paste_back(edited, given, frame=frame)
            assert result.dtype == variant.dtype and result.shape == variant.shape, name
            assert np.array_equal(result[~region], variant[~region]), name
            changed = np.any(result != variant, axis=2) if result.ndim == 3 else result != variant
            assert changed[region].mean() > 0.7, name
            if name == "alpha":
                assert np.array_equal(result[..., 3], variant[..., 3])


def _like(face: AlignedFace, variant: np.ndarray) -> AlignedFace:
    """``variant`` of the same photo under the same matrix, without detecting again."""
    photo = read_photo(variant)
    return AlignedFace(crop_photo(photo, face.matrix, face.size), photo, face.matrix)


def test_unchanged_crop_gives_the_unchanged_photo(astronaut, face):
    everything = torch.ones(1, 1, SIZE, SIZE)
    for name, variant in _variants(astronaut):
        if name == "float":
            continue
        aligned = _like(face, variant)
        result = aligned.paste_back(aligned.image, everything)
        tolerance = 3 if variant.dtype == np.uint16 else 0
        assert np.abs(result.astype(int) - variant.astype(int)).max() <= tolerance, name


def test_detail_is_kept_under_a_colour_change(astronaut, face):
    """A brighter crop brightens the photo with its own fine structure; without ``keep_detail`` that is blurred away."""
    edited = (face.image * 0.8 + 0.1).clamp(-1, 1)
    mask = _mask(8, 56, 8, 56)
    inner = face.mask_to_photo(_mask(16, 48, 16, 48))
    wanted = astronaut.astype(float) * 0.8 + 0.15 * 255
    kept, plain = (face.paste_back(edited, mask, keep_detail=keep).astype(float) for keep in (True, False))
    assert np.abs(kept - wanted)[inner].mean() < 0.5 * np.abs(plain - wanted)[inner].mean()


def test_old_detail_goes_with_the_old_content(face):
    flat = torch.zeros_like(face.image)
    mask = _mask(8, 56, 8, 56)
    inner = face.mask_to_photo(_mask(20, 44, 20, 44))
    result = face.paste_back(flat, mask).astype(float)[inner]
    original = face.original.astype(float)[inner]
    assert np.abs(result - 127.5).mean() < 0.25 * np.abs(original - original.mean()).mean()


def test_structure_kept():
    texture = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    assert structure_kept(texture, texture).min() > 0.999
    assert structure_kept(texture, texture * 0.5 + 0.3).min() > 0.99
    assert structure_kept(texture, 1 - texture).max() == 0
    assert structure_kept(texture, np.random.default_rng(1).random((64, 64)).astype(np.float32)).mean() < 0.1


def test_feather_stays_inside_and_grows_inwards(face):
    edited = torch.ones_like(face.image)
    region = np.zeros((512, 512), np.uint8)
    region[110:170, 195:255] = 255
    result = face.paste_back(edited, region, frame="photo", keep_detail=False, feather=3)
    share = (result.astype(float) - face.original).sum(2) / (255.0 - face.original).sum(2).clip(1)
    assert share[109, 225] == 0 and 0 < share[110, 225] < 0.3 and share[140, 225] > 0.97
    assert np.all(np.diff(share[110:120, 225]) > -0.02)
    hard = face.paste_back(edited, region, frame="photo", keep_detail=False, feather=0)
    assert hard[110:170, 195:255].min() == 255


def test_mask_beyond_the_crop_changes_nothing_there(face, astronaut):
    edited = torch.ones_like(face.image)
    result = face.paste_back(edited, np.full((512, 512), 255, np.uint8), frame="photo")
    shown = face.mask_to_photo(torch.ones(1, 1, SIZE, SIZE))
    assert not shown.all() and np.array_equal(result[~shown], astronaut[~shown])
    assert (result[shown] != astronaut[shown]).any()
    outside = np.zeros((512, 512), np.uint8)
    outside[500:, 500:] = 255
    with pytest.raises(FacemugError, match="outside of the face crop"):
        face.mask_to_crop(outside)


def test_grey_photo_can_take_colour(astronaut, face):
    grey = np.asarray(PIL.Image.fromarray(astronaut).convert("L"))
    aligned = _like(face, grey)
    red = torch.tensor([1.0, -1.0, -1.0])[None, :, None, None].expand(1, 3, SIZE, SIZE)
    mask = _mask(20, 40, 20, 40)
    result, region = aligned.paste_back(red, mask, colour=True), aligned.mask_to_photo(mask)
    assert result.shape == (512, 512, 3)
    assert np.array_equal(result[~region], np.repeat(grey[~region][:, None], 3, axis=1))
    assert (result[region][:, 0].astype(int) - result[region][:, 2]).max() > 150


@pytest.mark.parametrize("size", [48, 64, 256])
def test_masks_travel_both_ways(astronaut, size):
    """Coarser and finer crops: a photo mask is covered by its crop mask, and a crop mask comes back as itself."""
    photo = astronaut[:300, 60:360]
    base = open_face(photo, size=256)
    matrix = compose(resize_matrix(size / 256), base.matrix)
    face = AlignedFace(crop_photo(base.photo, matrix, size), base.photo, matrix)
    strokes = np.zeros((300, 300), np.uint8)
    cv2.line(strokes, (130, 90), (190, 150), 255, 1)
    crop = face.mask_to_crop(strokes)
    assert set(crop.unique().tolist()) == {0.0, 1.0}
    ys, xs = np.nonzero(strokes)
    there = np.rint(transform_points(face.matrix, np.stack([xs, ys], axis=1))).astype(int)
    near = cv2.dilate(crop[0, 0].numpy(), np.ones((3, 3)))
    assert near[there[:, 1], there[:, 0]].all() and crop.mean() < 0.2
    square = _mask(size // 4, size // 2, size // 4, size // 2, size)
    back = face.mask_to_crop(face.mask_to_photo(square))
    assert (back - square).abs().mean() < 0.05


def test_guidance_travels_to_the_crop(astronaut, face):
    same = face.to_crop(astronaut)
    assert np.abs(same / 127.5 - 1 - face.image[0].permute(1, 2, 0).numpy()).max() < 0.01
    labels = np.zeros((512, 512), np.uint8)
    labels[:120] = 7
    labels[120:] = 13
    assert set(np.unique(face.to_crop(labels, "nearest"))) <= {0, 7, 13}
    with pytest.raises(FacemugError, match="100x100 but the photo 512x512"):
        face.to_crop(np.zeros((100, 100), np.uint8))


def test_aligned_input_needs_no_detector():
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(1, 3, 256, 256, generator=generator) * 2 - 1
    face = open_face(noise, aligned=True)
    assert (face.image - noise).abs().max() <= 1 / 255 + 1e-6 and face.landmarks is None
    mask = _mask(50, 90, 60, 100, 256)
    result = face.paste_back(torch.zeros_like(noise), mask, feather=0, keep_detail=False)
    region = mask[0, 0].numpy() > 0
    assert (result[region] == 128).all() and np.array_equal(result[~region], face.original[~region])
    with pytest.raises(FacemugError, match="square"):
        open_face(np.zeros((64, 80, 3), np.uint8), aligned=True)
    big = open_face(np.full((512, 512, 3), 200, np.uint8), aligned=True, size=128)
    assert big.image.shape[-1] == 128 and torch.allclose(big.image, torch.tensor(200 / 127.5 - 1), atol=1e-5)


def test_several_faces(astronaut, analyzer):
    head = astronaut[:256, 96:352]
    pair = np.concatenate([head, head[:, ::-1]], axis=1)
    with pytest.raises(FacemugError, match=r"2 faces, left to right 0 at x=\d+ .*, 1 at x=\d+ .*--face N"):
        open_face(pair, analyzer=analyzer)
    first, second = (open_face(pair, face=index, analyzer=analyzer) for index in (0, 1))
    assert first.landmarks[:, 0].mean() < 256 < second.landmarks[:, 0].mean()
    with pytest.raises(FacemugError, match="no face 2"):
        open_face(pair, face=2, analyzer=analyzer)
    small = np.full((256, 512, 3), 128, np.uint8)
    small[:, :256] = head
    small[64:192, 320:448] = cv2.resize(head, (128, 128), interpolation=cv2.INTER_AREA)
    assert open_face(small, analyzer=analyzer).landmarks[:, 0].mean() < 256


def test_no_face(analyzer):
    with pytest.raises(FacemugError, match="no face found"):
        open_face(np.full((100, 100, 3), 90, np.uint8), analyzer=analyzer)


def test_forty_megapixels(astronaut, analyzer, face):
    huge = cv2.resize(astronaut[:340], (7800, 5200), interpolation=cv2.INTER_LINEAR)
    aligned = open_face(huge, size=SIZE, analyzer=analyzer)
    assert (aligned.image - face.image).abs().mean() < 0.06
    mask = _mask(36, 50, 22, 42)
    result = aligned.paste_back(-aligned.image, mask)
    region = aligned.mask_to_photo(mask)
    assert region.sum() > 200_000 and (result[region] != huge[region]).mean() > 0.5
    result[region] = huge[region]
    assert np.array_equal(result, huge)


def test_tiny_photo(astronaut, analyzer, face):
    tiny = cv2.resize(astronaut[40:200, 145:305], (48, 48), interpolation=cv2.INTER_AREA)
    aligned = open_face(tiny, size=SIZE, analyzer=analyzer)
    assert (aligned.image - face.image)[..., 16:48, 16:48].abs().mean() < 0.15


def test_warp_does_not_alias():
    """Stripes of one pixel shrink to even grey at any factor, and a constant stays itself even beyond the border."""
    stripes = np.zeros((400, 400), np.uint8)
    stripes[:, ::2] = 200
    for factor in (3, 7, 20):
        small = warp(stripes, resize_matrix(1 / factor), (400 // factor,) * 2)
        assert np.abs(small[2:-2, 2:-2] - 100).max() < 101 / factor
    constant = np.full((50, 40, 3), 77, np.uint8)
    assert np.allclose(warp(constant, np.array([[0.7, 0.2, 30], [-0.2, 0.7, -20.0]]), (90, 90)), 77, atol=1e-3)


def test_ffhq_matrix_is_a_similarity(face):
    linear = ffhq_matrix(face.landmarks, 100)[:, :2]
    assert linear @ linear.T == pytest.approx(np.eye(2) * np.linalg.det(linear), abs=1e-12)
    assert np.linalg.det(linear) > 0


def test_portraits_align(portraits):
    files = sorted(portraits.glob("*.jpg"))
    assert files
    for path in files:
        eyes = eye_centres(_in_crop(open_face(path)))
        assert np.all(np.abs(eyes.mean(axis=0) - [127.5, 121]) < 6), path.name


def test_portraits_align_whichever_way_up(portraits, analyzer):
    for path in sorted(portraits.glob("*.jpg"))[::20]:
        photo = read_photo(path).pixels
        upright = open_face(photo, analyzer=analyzer).image
        for turns in (1, 2, 3):
            turned = open_face(np.ascontiguousarray(np.rot90(photo, turns)), analyzer=analyzer).image
            assert float((turned - upright).abs().mean()) * 127.5 < 0.2, (path.name, turns)
