"""The compared methods: nothing outside a hole changes, and each does what its name says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from torch.nn import functional as F

from facemug_lib.editing.fill.refine import RefineSettings, refine
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation.cases import Cases, subset
from facemug_lib.evaluation.methods import default_methods
from facemug_lib.evaluation.methods.facemug import Facemug
from facemug_lib.evaluation.methods.folder import Folder
from facemug_lib.evaluation.methods.inversion import Inversion
from facemug_lib.evaluation.methods.optimisation import Optimisation
from facemug_lib.evaluation.methods.poisson import poisson
from facemug_lib.evaluation.methods.simple import ExemplarPaste, MeanColour, Telea
from facemug_lib.modalities.conditions import Conditions
from facemug_lib.pictures import as_8_bit
from facemug_lib.weights import weights_hash

STEPS = 3


@pytest.fixture(scope="module")
def editor():
    return tiny.tiny_editor()


@pytest.fixture(scope="module")
def cases() -> Cases:
    draw = torch.Generator().manual_seed(5)
    images, exemplars = (as_8_bit(F.interpolate(torch.rand(2, 3, 9, 9, generator=draw) * 1.6 - 0.8, (256, 256), mode="bicubic"))
                         for _ in range(2))
    masks = torch.zeros(2, 1, 256, 256)
    masks[0, :, 90:170, 70:200] = 1
    masks[1, :, 200:, :90] = 1  # reaches the border
    return Cases(images, masks, torch.zeros(2, 256, 256, dtype=torch.long), exemplars, (0, 3))


def every_method(editor) -> list:
    return [Facemug(editor, refine=1), MeanColour(), Telea(), ExemplarPaste(), Inversion(editor), Optimisation(editor, STEPS)]


@pytest.mark.parametrize("index", range(6))
def test_what_every_method_promises(editor, cases, index) -> None:
    """Nothing changes but the hole; 8-bit; no look under the mask; each face by itself; the same again."""
    method = every_method(editor)[index]
    pictures = method(cases)
    assert tuple(pictures) == method.names
    alone = method(subset(cases, [1]))
    spoilt = method(replace(cases, images=torch.where(cases.masks > 0.5, -cases.images, cases.images)))
    for name, filled in pictures.items():
        assert filled.shape == cases.images.shape
        hole = (cases.masks > 0.5).expand_as(filled)
        known = ~hole
        assert torch.equal(filled[known], cases.images[known])
        assert not torch.equal(filled, cases.images)
        assert torch.equal(filled, as_8_bit(filled))
        assert (filled[1:2] - alone[name]).abs().max() <= 1.01 / 127.5  # one grey level
        assert torch.equal(spoilt[name][hole], filled[hole])


def test_facemug_is_the_editor(editor, cases) -> None:
    pictures = Facemug(editor)(cases)["FACEMUG"]
    edited = editor.edit(cases.images[1:], cases.masks[1:], seed=3, guidance_frame="aligned").image
    assert (pictures[1:] - as_8_bit(edited)).abs().max() <= 1.01 / 127.5
    hidden = replace(cases, masks=cases.masks.clone().index_fill_(0, torch.tensor([1]), 1))
    one, other = (Facemug(editor)(replace(hidden, seeds=(0, seed)))["FACEMUG"] for seed in (3, 4))
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])  # what is wholly hidden is the seed's to decide


def test_mean_colour_is_the_mean_of_what_is_known(cases) -> None:
    filled = MeanColour()(cases)["mean colour"][0]
    known = cases.images[0][:, cases.masks[0, 0] < 0.5]
    assert torch.allclose(filled[:, 100, 100], known.mean(1), atol=0.51 / 127.5)
    assert filled[:, cases.masks[0, 0] > 0.5].std(dim=1).max() < 1e-6
    nothing_known = replace(cases, masks=torch.ones_like(cases.masks))
    assert MeanColour()(nothing_known)["mean colour"].abs().max() < 1 / 127.5


def test_telea_is_opencvs(cases) -> None:
    pixels = ((cases.images[1] * (1 - cases.masks[1]) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    direct = cv2.inpaint(np.ascontiguousarray(pixels), cases.masks[1, 0].byte().numpy(), 3, cv2.INPAINT_TELEA)
    filled = Telea()(cases)["Telea"][1]
    assert torch.equal(((filled + 1) * 127.5).round().byte().permute(1, 2, 0), torch.from_numpy(direct))


def test_exemplar_paste_shows_the_exemplar(cases) -> None:
    hole = (cases.masks > 0.5).expand_as(cases.images)
    assert torch.equal(ExemplarPaste()(cases)["exemplar paste"][hole], cases.exemplars[hole])


def test_inversion_pastes_the_priors_picture_and_poisson_closes_its_seam(editor, cases) -> None:
    pictures = Inversion(editor)(cases)
    codes = editor.encoder(Conditions.build(cases.masks, cases.images).encoder_input())
    painted = as_8_bit(editor.prior.synthesize(codes))
    hole = (cases.masks > 0.5).expand_as(painted)
    assert (pictures["inversion, pasted"][hole] - painted[hole]).abs().max() <= 1.01 / 127.5
    # The jump across the left edge of the first hole, beyond the photo's own slope there.
    jumps = {name: (one[0, :, 95:165, 70] - cases.images[0, :, 95:165, 69]).abs().mean() for name, one in pictures.items()}
    assert jumps["inversion, Poisson"] < 0.3 * jumps["inversion, pasted"]


def test_poisson_solves_the_plain_equation(editor, cases) -> None:
    """Δ(result − painted) = 0 inside the hole."""
    painted = torch.rand(cases.images.shape, generator=torch.Generator().manual_seed(1)) * 0.2 - 0.1
    correction = (poisson(painted, replace(cases, images=cases.images * 0.5)) - painted)[0, :, 91:169, 71:199]
    laplacian = F.conv2d(correction[:, None], torch.tensor([[[[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]]]))
    assert correction.abs().max() > 0.1
    assert laplacian.abs().max() < 1e-3


def test_optimisation_lowers_the_known_loss_and_needs_no_encoder(editor, cases) -> None:
    known = (cases.masks < 0.5).expand_as(cases.images)
    prior = editor.prior
    start = prior.broadcast(prior.mean_w.expand(2, -1))
    refined = refine(prior, Conditions.build(cases.masks, cases.images), cases.images, [start], 12, editor.experts(False, False))
    error = [(prior.synthesize(codes) - cases.images)[known].square().mean() for codes in (start, refined.codes)]
    assert error[1] < 0.7 * error[0]
    without = type(editor)(prior, None, None, None, experts=editor._experts)
    expected = as_8_bit(poisson(refined.image.clamp(-1, 1), cases))
    assert torch.equal(Optimisation(without, 12, RefineSettings())(cases)["optimisation"], expected)


def test_a_description_is_the_same_again_and_changes_with_the_settings(editor) -> None:
    for method in every_method(editor):
        assert method.describe() == method.describe()
    assert Telea(3).describe() != Telea(5).describe()
    assert Facemug(editor).describe() != Facemug(editor, 2).describe() != Facemug(editor, 3).describe()
    assert Optimisation(editor, 3).describe() != Optimisation(editor, 4).describe()
    assert Optimisation(editor, 3).describe() != Optimisation(editor, 3, RefineSettings(pull=0.5)).describe()


def test_a_description_changes_with_the_weights_that_take_part(editor) -> None:
    other = tiny.tiny_editor()
    for make in (Facemug, Inversion, Optimisation):
        assert make(other).describe() == make(editor).describe()  # the same weights in another place
    with torch.no_grad():
        next(other.encoder.parameters()).add_(1e-3)
    assert Facemug(other).describe() != Facemug(editor).describe()
    assert Inversion(other).describe() != Inversion(editor).describe()
    assert Optimisation(other).describe() == Optimisation(editor).describe()  # has no encoder
    other.prior.paint += 1e-3
    assert Optimisation(other).describe() != Optimisation(editor).describe()


def test_a_hash_of_weights_sees_one_bit() -> None:
    layer = torch.nn.Linear(2, 2)
    before = weights_hash(layer)
    assert weights_hash(layer) == before
    with torch.no_grad():
        layer.bias[1] = torch.nextafter(layer.bias[1], torch.tensor(9.0))
    assert weights_hash(layer) != before
    now = weights_hash(layer)
    layer.register_buffer("worked_out", torch.ones(1), persistent=False)  # on another processor its last bit may be another
    assert weights_hash(layer) == now


def test_the_default_table(editor) -> None:
    rows = [name for method in default_methods(editor, refine=5) for name in method.names]
    assert len(set(rows)) == len(rows) == 8
    assert [name for method in default_methods(editor, optimise=False) for name in method.names][0] == "FACEMUG"


# -- other people's pictures -----------------------------------------------------------------------------------------------


def save(folder: Path, name: str, picture: torch.Tensor) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(((picture + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()).save(folder / name)


def test_a_folder_gives_its_pictures_as_they_are(tmp_path, cases) -> None:
    save(tmp_path / "prior" / "centre", "000000.png", cases.images[0])
    save(tmp_path / "prior" / "centre", "000012_inpaint.png", cases.images[1])
    peer = Folder(tmp_path, "peer")
    assert peer.names == ("peer",)
    assert torch.equal(peer.pictures("prior", "centre", [12, 0]), cases.images[[1, 0]])
    before = peer.describe()
    save(tmp_path / "prior" / "centre", "000000.png", cases.images[1])
    assert peer.describe() != before


def test_a_folder_names_what_is_missing(tmp_path, cases) -> None:
    with pytest.raises(FacemugError, match="not a folder"):
        Folder(tmp_path / "nowhere", "peer")
    with pytest.raises(FacemugError, match="no picture in"):
        Folder(tmp_path, "peer")
    save(tmp_path / "prior" / "centre", "000000.png", cases.images[0])
    peer = Folder(tmp_path, "peer")
    with pytest.raises(FacemugError, match=r"000003\.png nor 000003_inpaint\.png"):
        peer.pictures("prior", "centre", [3])
    save(tmp_path / "prior" / "centre", "000003.png", cases.images[0, :, :128])
    with pytest.raises(FacemugError, match=r"000003\.png has 256 × 128 px: .*256 × 256"):
        peer.pictures("prior", "centre", [3])
    (tmp_path / "prior" / "centre" / "000003.png").write_bytes(b"no picture")
    with pytest.raises(FacemugError, match="cannot be read as a picture"):
        peer.pictures("prior", "centre", [3])
