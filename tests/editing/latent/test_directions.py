from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from sklearn.decomposition import PCA

from facemug_lib.editing.latent import direction_fit as fit
from facemug_lib.editing.latent.directions import (
    Direction,
    ReadTraits,
    constant,
    cosines,
    load_directions,
    load_published,
    load_read_traits,
    moved,
    save_directions,
)
from facemug_lib.errors import FacemugError
from facemug_lib.faces.prior import FacePrior
from facemug_lib.weights import save_weights


def unit(*entries: int) -> torch.Tensor:
    w = torch.zeros(512)
    w[list(entries)] = 1.0
    return w / w.norm()


@pytest.fixture(scope="module")
def w() -> torch.Tensor:
    """Codes whose entries vary by different amounts."""
    spread = torch.linspace(0.2, 2, 512)
    return torch.randn(1200, 512, generator=torch.Generator().manual_seed(0)) * spread


# -- finding them ---------------------------------------------------------------------------------------------------------


def test_a_boundary_finds_what_the_scores_follow(w: torch.Tensor) -> None:
    truth = unit(*range(200, 210))
    noise = 0.2 * torch.randn(len(w), generator=torch.Generator().manual_seed(1))
    scores = w @ truth + noise
    found = fit.boundary("smile", w, scores)
    assert torch.nn.functional.cosine_similarity(found.vector[0], truth, dim=0) > 0.6
    assert found.vector.shape == (17, 512) and torch.allclose(found.vector[0].norm(), torch.ones(()))
    assert found.about["accuracy"] > 0.9 and found.about["faces"] == 480
    random = fit.boundary("smile", w, torch.randn(len(w), generator=torch.Generator().manual_seed(2)))
    assert random.about["accuracy"] < 0.7  # held out: a fit to noise shows
    assert torch.equal(fit.boundary("smile", w, scores).vector, found.vector)


def test_a_boundary_passes_over_faces_without_a_score(w: torch.Tensor) -> None:
    scores = w @ unit(300)
    scores[::2] = torch.nan
    assert fit.boundary("beard", w, scores).about["faces"] == 240
    with pytest.raises(FacemugError, match="at least 10 are needed"):
        fit.boundary("beard", w[:40], scores[:40])
    with pytest.raises(FacemugError, match="at least 10 are needed"):
        fit.boundary("beard", w, torch.ones(len(w)))


def test_components_are_those_of_scikit_learn(w: torch.Tensor) -> None:
    ours = fit.components(w, 3)
    theirs = PCA(3, svd_solver="full").fit(w.double().numpy())
    for one, vector, variance, share in zip(ours, theirs.components_, theirs.explained_variance_,
                                            theirs.explained_variance_ratio_, strict=True):
        wanted = vector * np.sign(vector[np.abs(vector).argmax()]) * variance**0.5
        assert np.allclose(one.vector[5], wanted, atol=1e-4) and one.about["share_of_variance"] == round(float(share), 4)
    with pytest.raises(FacemugError, match="choose 1 … 512"):
        fit.components(w, 600)


def test_factors_change_styles_most() -> None:
    torch.manual_seed(0)
    prior = FacePrior()
    affines = prior.style_affines()
    assert [len(one) for one in affines[:4]] == [512, 512, 128, 512] and len(affines) == 17
    found = fit.factors(prior, "middle", 4)
    stacked = torch.cat([one / one.norm() for one in affines[4:10]])
    gains = [float((stacked @ one.vector[5]).norm()) for one in found]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] == pytest.approx(float(torch.linalg.matrix_norm(stacked, 2)), rel=1e-4)
    assert not found[0].vector[:4].any() and not found[0].vector[10:].any()
    basis = torch.stack([one.vector[5] for one in found])
    assert torch.allclose(basis @ basis.T, torch.eye(4), atol=1e-4)


class Reddish:
    """A text–image model for which "red" is how much brighter red is than green."""

    name, code_group = "reddish", "all"

    def embed_texts(self, texts: list[str]) -> torch.Tensor:
        return torch.tensor([[1.0, 0.0] if text == "red" else [0.0, 1.0] for text in texts])

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        red, green = (1 + images[:, channel].mean((1, 2)) for channel in (0, 1))
        return torch.nn.functional.normalize(torch.stack((red, green), 1), dim=1)


def test_a_direction_of_a_text(editor) -> None:
    prior = editor.prior
    w = prior.w_of_seeds(range(200), 1.0)
    codes = prior.broadcast(prior.w_of_seeds(range(1000, 1008), 1.0))
    found = fit.from_text(prior, Reddish(), "red", "green", w, codes, "redder")
    assert found.name == "redder" and found.family == "text" and found.about["text"] == "red"

    def red(codes: torch.Tensor) -> torch.Tensor:
        image = prior.synthesize(codes, 128)
        return (image[:, 0] - image[:, 1]).mean((1, 2))

    assert bool((red(codes + found.vector) > red(codes)).all())
    other = constant("other", w[0], "factor")
    alone = fit.from_text(prior, Reddish(), "red", "green", w, codes, leave=[other])
    assert abs(float(cosines([alone], [other])[0, 0])) < 1e-5 and alone.about["leaves"] == ["other"]
    with pytest.raises(FacemugError, match="mean the same"):
        fit.from_text(prior, Reddish(), "red", "red", w, codes)


# -- handling them --------------------------------------------------------------------------------------------------------


def test_conditions_leave_the_others_alone() -> None:
    smile, glasses, age = (constant(name, vector, "boundary")
                           for name, vector in (("smile", unit(0, 1, 2)), ("glasses", unit(1)), ("age", unit(2, 3))))
    alone = smile.without([glasses, age])
    assert abs(float(cosines([alone], [glasses])[0, 0])) < 1e-6 and abs(float(cosines([alone], [age])[0, 0])) < 1e-6
    assert float(cosines([alone], [smile])[0, 0]) > 0.5
    assert torch.equal(smile.without([]).vector, smile.vector)


def test_layers_restrict() -> None:
    smile = constant("smile", unit(7), "boundary").restricted("middle")
    assert smile.vector.any(dim=1).tolist() == [False] * 4 + [True] * 6 + [False] * 7
    assert cosines([smile], [constant("other", unit(7), "factor")]).item() == pytest.approx(1)
    with pytest.raises(FacemugError, match="choose from all, coarse"):
        smile.restricted("eyes")
    with pytest.raises(FacemugError, match="there are codes 0 … 16"):
        smile.restricted((3, 20))


def test_codes_move_by_strength() -> None:
    codes = torch.randn(2, 17, 512, generator=torch.Generator().manual_seed(0))
    known = {"smile": constant("smile", unit(1), "boundary"), "age": constant("age", unit(2), "boundary").restricted("fine")}
    there = moved(codes, {"smile": 1.5, "age": -2}, known)
    assert torch.allclose(there - codes, 1.5 * known["smile"].vector - 2 * known["age"].vector, atol=1e-6)
    assert torch.equal(moved(codes, {}, known), codes)
    for strengths, message in (({"joy": 1.0}, "no attribute is called 'joy': choose from smile, age"),
                               ({"smile": float("nan")}, "use a number from -10 to 10"), ({"smile": "2"}, "use a number"),
                               ({"smile": True}, "use a number"), ({"smile": 99}, "use a number")):
        with pytest.raises(FacemugError, match=message):
            moved(codes, strengths, known)


def test_one_unit_is_one_standard_deviation() -> None:
    prior = tiny.TinyPrior()

    def read(images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"light": 3 * images.mean((1, 2, 3)), "red": images[:, 0].mean((1, 2))}

    codes = prior.broadcast(prior.sample_w(12, torch.Generator().manual_seed(0), 0.7)) * 0.1
    towards = constant("light", -prior.paint.mean(1).view(17, 512).sum(0), "factor")  # the wrong way round, of any length
    found = fit.calibrated(prior, towards, "light", 0.01, codes, read)
    moves = fit.changes(prior, found, codes, read)
    assert torch.allclose(moves["light"], torch.full((12,), 0.01), atol=1e-5)
    assert "one standard deviation of light, 0.01" in found.unit and found.about["deviation"] == 0.01
    with pytest.raises(FacemugError, match="does not move light"):
        fit.calibrated(prior, towards, "light", 1.0, codes, lambda images: {"light": 0 * images.mean((1, 2, 3))})


# -- files ----------------------------------------------------------------------------------------------------------------


def test_files_keep_everything(tmp_path: Path) -> None:
    smile = constant("smile", unit(1), "boundary", unit="one standard deviation", about={"accuracy": 0.9})
    age = constant("age", unit(2), "photos").restricted("fine")
    read = load_directions(save_directions(tmp_path / "directions.safetensors", [smile, age], {"images_seen": 3}))
    assert list(read) == ["smile", "age"] and read["smile"].about == {"accuracy": 0.9} and read["age"].family == "photos"
    assert torch.allclose(read["smile"].vector, smile.vector, atol=1e-3) and read["smile"].unit == smile.unit
    with pytest.raises(FacemugError, match="share a name"):
        save_directions(tmp_path / "two.safetensors", [smile, smile], {})
    other = save_weights(tmp_path / "other.safetensors", {"x": torch.zeros(1)}, config={}, card={})
    with pytest.raises(FacemugError, match="holds no directions"):
        load_directions(other)


def test_directions_must_be_whole() -> None:
    for vector in (torch.zeros(512), torch.zeros(17, 3), torch.full((17, 512), torch.nan)):
        with pytest.raises(FacemugError, match=r"\[t, 512\] is needed"):
            Direction("smile", vector, "boundary")
    with pytest.raises(FacemugError, match="choose from boundary"):
        Direction("smile", torch.zeros(17, 512), "guess")


def test_published_directions_are_matched_by_resolution(tmp_path: Path) -> None:
    rows = torch.arange(18.0)[:, None].expand(-1, 512).contiguous()
    torch.save(rows[None], tmp_path / "pose.pt")
    pose = load_published(tmp_path / "pose.pt")
    assert pose.vector[:, 0].tolist() == [0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8, 9, 9, 10, 11] and pose.name == "pose"
    np.save(tmp_path / "age.npy", unit(4).numpy()[None])
    assert torch.equal(load_published(tmp_path / "age.npy", "older").vector, unit(4).expand(17, -1))
    np.save(tmp_path / "small.npy", np.zeros(3))
    (tmp_path / "broken.pt").write_bytes(b"no archive")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for name, message in (("small.npy", "512 or 18 × 512 numbers"), ("broken.pt", "not a readable"), ("gone.pt", "no file"),
                          ("objects.npy", "not a readable")):
        with pytest.raises(FacemugError, match=message):
            load_published(tmp_path / name)


def test_a_published_file_cannot_run_code(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"direction": Hostile()}, tmp_path / "hostile.pt")
    with pytest.raises(FacemugError, match="not a readable"):
        load_published(tmp_path / "hostile.pt")
    assert not (tmp_path / "ran").exists()


# -- photographs ----------------------------------------------------------------------------------------------------------


def test_photographs_of_two_kinds_give_a_direction(w: torch.Tensor) -> None:
    truth = unit(*range(400, 420))
    labels = (w @ truth > 0).float()
    codes = w[:, None] + 0.05 * torch.randn(len(w), 17, 512, generator=torch.Generator().manual_seed(3))
    found = fit.from_codes("beard", codes, labels)
    cosine = torch.nn.functional.cosine_similarity(found.vector[0], truth, dim=0)
    assert cosine > 0.5 and found.about["accuracy"] > 0.75 and found.family == "photos"
    spread = (codes.mean(1) @ found.vector[0]) / found.vector[0].square().sum()
    assert float(spread.std()) == pytest.approx(1, rel=1e-3)
    graded = fit.from_codes("beard", codes, w @ truth)
    assert torch.nn.functional.cosine_similarity(graded.vector[0], truth, dim=0) > 0.5 and graded.about["faces"] == 800
    for scores in (torch.ones(8), torch.tensor([0.0, 1, 1, 1, 1, 1, 1, 1])):
        with pytest.raises(FacemugError, match="5 of each kind are needed"):
            fit.from_codes("beard", codes[:8], scores)


def test_what_a_file_was_fitted_to_is_kept(tmp_path: Path) -> None:
    prior = tiny.TinyPrior()
    traits = {"age": torch.tensor([20.0, 31.5, torch.nan]), "smile": torch.tensor([-1.0, 0.5, 2.0])}
    smile = constant("smile", unit(1), "boundary")
    file = save_directions(tmp_path / "directions.safetensors", [smile], {}, ReadTraits(7, 0.8, traits))
    read = load_read_traits(file)
    assert list(load_directions(file)) == ["smile"] and (read.seed, read.psi) == (7, 0.8)
    assert torch.equal(read.traits["smile"], traits["smile"]) and read.traits["age"].isnan().tolist() == [False, False, True]
    assert torch.equal(read.codes(prior)[1:2], prior.sample_w(1, torch.Generator().manual_seed(8), 0.8))
    with pytest.raises(FacemugError, match="does not say"):
        load_read_traits(save_directions(tmp_path / "bare.safetensors", [smile], {}))
