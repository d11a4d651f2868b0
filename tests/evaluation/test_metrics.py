"""Every metric against a slow reference or a library, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from skimage import color
from skimage import metrics as skimage_metrics
from sklearn.metrics import jaccard_score
from sklearn.svm import LinearSVC

from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import metrics
from facemug_lib.modalities.masks import free_form
from facemug_lib.modalities.semantics import NUM_CLASSES, SEMANTIC_CLASSES
from facemug_lib.training.distillation.agreement import FREQUENT_CLASSES


@pytest.fixture(scope="module")
def pictures() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Smooth faces' stand-ins [3,3,64,48], the same with noise, and holes of different sizes."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(3, 3, 9, 7, generator=draw) * 2 - 1
    target = torch.nn.functional.interpolate(coarse, (64, 48), mode="bilinear", align_corners=True)
    image = (target + 0.15 * torch.randn(target.shape, generator=draw)).clamp(-1, 1)
    mask = free_form(3, 64, 48, draw, hole_range=(0.2, 0.6), scale_widths=True)
    return image, target, mask


@pytest.fixture(scope="module")
def labels() -> torch.Tensor:
    """Blocks of classes [3,64,48], some of them unknown."""
    draw = torch.Generator().manual_seed(1)
    return torch.randint(-1, NUM_CLASSES, (3, 8, 6), generator=draw).repeat_interleave(8, 1).repeat_interleave(8, 2)


def features(n: int, d: int, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    """Correlated and not negative, as Inception's."""
    draw = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(d, d)) / np.sqrt(d)
    return np.maximum(0.3 + 0.3 * draw.normal(size=(n, d)) @ mixing + shift, 0).astype(np.float32)


def pairs(n: int, d: int, difference: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Features of real faces and of edits that resemble them."""
    real = features(n, d)
    return real, real + difference * (features(n, d, 1) - 0.3) + 0.02 * difference


# -- fidelity -------------------------------------------------------------------------------------------------------------


def test_psnr_is_scikit_images_over_the_hole(pictures) -> None:
    image, target, mask = pictures
    for one, true, hole, whole, inside in zip(*pictures, metrics.psnr(image, target), metrics.psnr(image, target, mask),
                                              strict=True):
        assert whole.item() == pytest.approx(
            skimage_metrics.peak_signal_noise_ratio(true.numpy(), one.numpy(), data_range=2), abs=1e-4)
        chosen = hole.expand(3, -1, -1) > 0.5
        assert inside.item() == pytest.approx(
            skimage_metrics.peak_signal_noise_ratio(true[chosen].numpy(), one[chosen].numpy(), data_range=2), abs=1e-4)


@pytest.mark.parametrize("size", [(64, 48), (11, 33)])
def test_ssim_is_scikit_images_map_averaged_over_the_hole(pictures, size: tuple[int, int]) -> None:
    image, target, mask = (values[..., :size[0], :size[1]] for values in pictures)
    for one, true, hole, whole, inside in zip(image, target, mask, metrics.ssim(image, target),
                                              metrics.ssim(image, target, mask), strict=True):
        _, reference = skimage_metrics.structural_similarity(
            true.double().numpy(), one.double().numpy(), gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            data_range=2, channel_axis=0, full=True)
        assert whole.item() == pytest.approx(reference.mean(), abs=1e-5)
        assert inside.item() == pytest.approx(reference[:, hole[0].numpy() > 0.5].mean(), abs=1e-5)


def test_fidelity_falls_with_noise_and_does_not_look_outside_the_hole(pictures) -> None:
    image, target, mask = pictures
    noise = image - target
    for measure in (metrics.psnr, metrics.ssim):
        scores = torch.stack([measure(target + share * noise, target, mask) for share in (0.0, 0.3, 0.6, 1.0)])
        assert (scores.diff(dim=0) < 0).all()
    assert metrics.ssim(target, target).tolist() == pytest.approx([1] * 3)
    assert metrics.psnr(target, target, mask).tolist() == pytest.approx([106.0206] * 3, abs=1e-3)
    assert torch.equal(metrics.psnr(torch.where(mask > 0.5, image, -1.0), target, mask), metrics.psnr(image, target, mask))


def test_an_empty_hole_scores_nan_and_harms_no_other_picture(pictures, labels) -> None:
    image, target, mask = pictures
    mask = mask.clone()
    mask[1] = 0
    for measure in (metrics.psnr, metrics.ssim, lambda *given: metrics.colour_error(*given[:2], labels, given[2])):
        assert measure(image, target, mask).isnan().tolist() == [False, True, False]
    assert metrics.colour_error(image, target, torch.full_like(labels, -1), mask).isnan().all()
    assert metrics.sketch_agreement(image, torch.ones(3, 1, 64, 48), mask).isnan().tolist() == [False, True, False]
    assert metrics.semantic_counts(labels, labels, mask)[1].sum() == 0


# -- guidance -------------------------------------------------------------------------------------------------------------


def test_colour_error_is_the_mean_ciede2000_of_regions_by_area(pictures, labels) -> None:
    image, target, mask = pictures
    for index, error in enumerate(metrics.colour_error(image, target, labels, mask)):
        differences, areas = [], []
        for name in range(NUM_CLASSES):
            region = (labels[index] == name) & (mask[index, 0] > 0.5)
            if region.any():
                one, true = ((picture[index][:, region].double().mean(1).numpy() + 1) / 2 for picture in (image, target))
                differences.append(color.deltaE_ciede2000(color.rgb2lab(one), color.rgb2lab(true)))
                areas.append(int(region.sum()))
        assert len(areas) > 3
        assert error.item() == pytest.approx(np.average(differences, weights=areas), rel=1e-5)


def test_colour_error_of_black_for_white_is_100(labels) -> None:
    white = torch.ones(3, 3, 64, 48)
    whole = torch.ones(3, 1, 64, 48)
    assert metrics.colour_error(-white, white, labels, whole).tolist() == pytest.approx([100] * 3, abs=1e-3)
    assert metrics.colour_error(white, white, labels, whole).tolist() == [0] * 3


def test_mean_iou_is_scikit_learns_jaccard_score(labels, pictures) -> None:
    mask = pictures[2]
    parsed = labels.roll((3, 2), (1, 2))
    counts = metrics.semantic_counts(parsed, labels, mask)
    assert counts.shape == (3, 2, NUM_CLASSES) and counts.dtype == torch.long
    known = (mask[:, 0] > 0.5) & (labels >= 0) & (parsed >= 0)
    names = [name for name in FREQUENT_CLASSES if counts[:, 1, SEMANTIC_CLASSES.index(name)].sum() > 0]
    reference = jaccard_score(labels[known], parsed[known], labels=[SEMANTIC_CLASSES.index(name) for name in names],
                              average="macro")
    assert metrics.mean_iou(counts.sum(0)) == pytest.approx(reference)
    assert metrics.mean_iou(counts.sum(0).numpy(), classes=["hair"]) == pytest.approx(
        jaccard_score(labels[known] == 13, parsed[known] == 13))
    assert metrics.mean_iou(metrics.semantic_counts(labels, labels, mask).sum(0)) == 1
    assert np.isnan(metrics.mean_iou(torch.zeros(2, NUM_CLASSES, dtype=torch.long)))


def test_sketch_agreement_counts_strokes_within_two_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "pencil_sketch", lambda image: image[:, :1])  # the picture's red channel is its sketch
    drawn, asked, mask = torch.zeros(6, 3, 32, 32), torch.zeros(6, 1, 32, 32), torch.zeros(6, 1, 32, 32)
    mask[..., 8:24] = 1
    drawn[:, 0, 10, 8:24] = 1  # a line of 16 pixels
    asked[0, 0, 12, 8:24] = 1  # two pixels below: met
    asked[1, 0, 13, 8:24] = 1  # three: not met
    asked[2, 0, 10, 8:14] = 1  # shorter: all requested pixels met, of the drawn ones those up to two pixels beyond, 8 of 16
    asked[3, 0, 10, :8] = 1  # outside the hole: requests nothing, but two pixels inside it are near enough
    drawn[4], drawn[5] = 0, 0
    asked[4, 0, 12, 8:24] = 1  # nothing drawn; and in the last one nothing requested either
    scores = metrics.sketch_agreement(drawn, asked, mask)
    assert scores[:5].tolist() == pytest.approx([1, 0, 2 * 0.5 / 1.5, 0, 0])
    assert scores[5].isnan()
    assert metrics.sketch_agreement(drawn, asked, mask, tolerance=3)[1] == 1


def test_a_picture_agrees_with_its_own_sketch_more_than_with_a_mirrored_one(pictures) -> None:
    target, whole = pictures[1], torch.ones(3, 1, 64, 48)
    sketch = metrics.pencil_sketch(target)
    assert metrics.sketch_agreement(target, sketch, whole).tolist() == [1] * 3
    assert (metrics.sketch_agreement(target, sketch.flip(-1), whole) < 0.9).all()


def test_cosines_and_angles() -> None:
    a = torch.tensor([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    assert metrics.cosine(a, torch.tensor([[0.0, 3.0], [2.0, 2.0], [-1.0, 0.0]])).tolist() == pytest.approx([0, 1, -1], abs=1e-6)
    pose = torch.tensor([[10.0, -5.0, 179.0], [0.0, 0.0, 0.0], [float("nan")] * 3])
    errors = metrics.angle_error(pose, torch.tensor([[4.0, -2.0, -179.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert errors[:2].tolist() == pytest.approx([(6 + 3 + 2) / 3, 0]) and errors[2].isnan()


# -- distributions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m", "d"), [(30, 30, 12), (200, 90, 12), (25, 40, 64), (40, 200, 64)])
def test_fid_is_the_textbook_formula(n: int, m: int, d: int) -> None:
    real, fake = features(n, d), features(m, d, 1, shift=0.05)
    covariances = [np.cov(x.astype(np.float64), rowvar=False) for x in (real, fake)]
    # The root of a singular product is not well defined in floating point; what is added for it is far below the tolerance.
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1] + 1e-12 * np.eye(d)).real
    means = [x.astype(np.float64).mean(0) for x in (real, fake)]
    expected = np.square(means[0] - means[1]).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert metrics.fid(real, fake) == pytest.approx(expected, abs=2e-4)
    assert metrics.fid(torch.from_numpy(real), torch.from_numpy(fake)) == metrics.fid(real, fake)


@pytest.mark.parametrize("n", [20, 100])
def test_distances_of_a_set_to_itself_and_to_ever_other_sets(n: int) -> None:
    real = features(n, 48)
    assert metrics.fid(real, real[::-1]) == pytest.approx(0, abs=1e-9)
    assert metrics.kid(real, real) < 0  # unbiased: the pairs of a picture with itself are not left out between the sets
    for distance in (metrics.fid, metrics.kid):
        values = [distance(real, features(n, 48, 1, shift)) for shift in (0.0, 0.1, 0.2, 0.4)]
        assert values == sorted(values) and values[-1] > 2 * values[1]
        assert np.isnan(distance(real[:1], real))


def test_fid_of_two_known_gaussians() -> None:
    """Diagonal covariances: the distance is that of the means plus that of the standard deviations."""
    draw = np.random.default_rng(0)
    white = draw.normal(size=(400, 6))
    white = np.linalg.qr(white - white.mean(0))[0] * np.sqrt(399)  # mean 0 and covariance 1, exactly
    sides = np.array([1.0, 2, 3, 1, 1, 1]), np.array([1.0, 1, 1, 4, 1, 1])
    assert metrics.fid(white * sides[0], white * sides[1] + 2) == pytest.approx(6 * 4 + 1 + 4 + 9)


def test_kid_is_the_double_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = features(9, 5).astype(np.float64), features(7, 5, 1, shift=0.1).astype(np.float64)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (x @ y / 5 + 1) ** 3

    def among(rows: np.ndarray) -> float:
        return np.mean([kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j])

    expected = among(real) + among(fake) - 2 * np.mean([kernel(x, y) for x in real for y in fake])
    assert metrics.kid(real, fake) == pytest.approx(expected, rel=1e-10)
    monkeypatch.setattr(metrics, "KERNEL_ROWS", 4)
    assert metrics.kid(real, fake) == pytest.approx(expected, rel=1e-10)


# -- discriminability -----------------------------------------------------------------------------------------------------


def reference_svm(real: np.ndarray, fake: np.ndarray) -> LinearSVC:
    rows, sides = np.concatenate((real, fake)).astype(np.float64), np.repeat((1, 0), (len(real), len(fake)))
    return LinearSVC(dual=False, tol=1e-8, max_iter=100_000).fit(rows, sides)


@pytest.mark.parametrize(("n", "d"), [(300, 20), (40, 64), (25, 300)])
def test_decisions_are_scikit_learns_on_the_features_themselves(n: int, d: int) -> None:
    """Neither the projection onto the span of the features nor the solver changes what the SVM decides, also of unseen rows."""
    real, fake = pairs(n, d)
    basis = metrics._in_their_span(real, fake)
    assert basis[0].shape[1] == min(2 * n, d)
    seen = slice(n // 5, None)
    weights = metrics._svm(basis[0][seen], basis[1][seen])
    reference = reference_svm(real[seen], fake[seen])
    for rows, original in zip(basis, (real, fake), strict=True):
        expected = reference.decision_function(original.astype(np.float64))
        assert np.abs(rows @ weights[:-1] + weights[-1] - expected).max() < 1e-4 * expected.std() + 1e-5


@pytest.mark.parametrize(("n", "m", "d"), [(300, 300, 20), (100, 150, 8), (40, 40, 64)])
def test_published_scores_are_one_minus_accuracy_and_pairs_turned_round(n: int, m: int, d: int) -> None:
    real, fake = pairs(max(n, m), d)
    real, fake = real[:n], fake[:m]
    svm = reference_svm(real, fake)
    f_real, f_fake = (svm.decision_function(x.astype(np.float64)) for x in (real, fake))
    assert metrics.u_ids(real, fake) == pytest.approx(((f_real < 0).mean() + (f_fake > 0).mean()) / 2)
    if n == m:
        rows = np.concatenate((real, fake)).astype(np.float64)
        assert metrics.u_ids(real, fake) == pytest.approx(1 - svm.score(rows, np.repeat((1, 0), n)))
        assert metrics.p_ids(real, fake) == pytest.approx((f_fake > f_real).mean())
    else:
        with pytest.raises(FacemugError, match="no pairs"):
            metrics.p_ids(real, fake)


def test_held_out_scores_are_those_of_an_svm_that_saw_neither_half_of_the_pair() -> None:
    real, fake = pairs(60, 30)
    groups = np.arange(60) % 4
    found = metrics.discriminability(real, fake, groups)
    for fold, (u_ids, p_ids) in enumerate(found.folds):
        svm = reference_svm(real[groups != fold], fake[groups != fold])
        f_real, f_fake = (svm.decision_function(x[groups == fold].astype(np.float64)) for x in (real, fake))
        assert u_ids == pytest.approx(((f_real < 0).mean() + (f_fake > 0).mean()) / 2)
        assert p_ids == pytest.approx((f_fake > f_real).mean())
    assert (found.u_ids_heldout.value, found.p_ids_heldout.value) == pytest.approx(found.folds.mean(0))
    assert found.u_ids_heldout.error == pytest.approx(found.folds[:, 0].std(ddof=1) / 2)
    assert (found.u_ids.value, found.p_ids.value) == (metrics.u_ids(real, fake), metrics.p_ids(real, fake))
    value, error = metrics.jackknife(lambda keep: metrics.u_ids(real[keep], fake[keep]), groups)
    assert (found.u_ids.value, found.u_ids.error) == pytest.approx((value, error))
    assert {score.n for score in found[:4]} == {60}


def test_few_pictures_are_separable_whatever_they_are_and_only_the_held_out_score_knows_it() -> None:
    """Twice the same distribution: nothing tells the two apart, and yet the published form says 0 where n is small."""
    real, fake = features(50, 400), features(50, 400, 1)
    found = metrics.discriminability(real, fake, np.arange(50) % 5)
    assert found.u_ids.value == found.p_ids.value == 0
    assert 0.35 < found.u_ids_heldout.value < 0.65 and 0.3 < found.p_ids_heldout.value < 0.7
    obvious = metrics.discriminability(real, fake + 0.5, np.arange(50) % 5)
    assert obvious.u_ids_heldout.value < 0.2 and obvious.p_ids_heldout.value == 0


def test_pairs_and_folds_must_fit() -> None:
    real, fake = pairs(10, 6)
    for groups in (np.zeros(10), np.arange(9) % 2):
        with pytest.raises(FacemugError, match="two or more"):
            metrics.discriminability(real, fake, groups)
    with pytest.raises(FacemugError, match="no pairs"):
        metrics.discriminability(real, fake[:9], np.arange(10) % 2)


# -- errors ---------------------------------------------------------------------------------------------------------------


def test_jackknife_of_a_mean_is_the_textbook_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=40)
    value, error = metrics.jackknife(lambda keep: values[keep].mean(), np.arange(40))
    assert (value, error) == pytest.approx((values.mean(), values.std(ddof=1) / np.sqrt(40)))
    # of equal groups: that of the groups' means
    groups = np.arange(40) % 5
    means = [values[groups == group].mean() for group in range(5)]
    _, error = metrics.jackknife(lambda keep: values[keep].mean(), groups)
    assert error == pytest.approx(np.std(means, ddof=1) / np.sqrt(5))


def test_jackknife_has_no_error_to_give_for_one_group_or_a_part_without_value() -> None:
    assert metrics.jackknife(len, [3, 3, 3]) == (3, None)
    assert metrics.jackknife(lambda keep: 1 if len(keep) > 2 else float("nan"), [0, 1, 2]) == (1, None)


def test_average_leaves_out_what_was_not_measured() -> None:
    nan = float("nan")
    score = metrics.mean_score(torch.tensor([1.0, nan, 3.0, 5.0]), np.array([0, 0, 1, 1]))
    assert (score.value, score.n) == (3, 3)
    assert score.error == pytest.approx(1.5)  # 1 and 4 without one group, their mean 2.5: √(1/2 · 2 · 1.5²)
    assert metrics.mean_score([1.0, nan], [0, 1]) == metrics.Score(1, None, 1)
    empty = metrics.mean_score(np.full(3, nan), np.arange(3))
    assert np.isnan(empty.value) and (empty.error, empty.n) == (None, 0)
