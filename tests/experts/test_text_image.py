from __future__ import annotations

from pathlib import Path

import pytest
import torch

from facemug_lib.errors import FacemugError
from facemug_lib.experts.text_image import SmallTextImage, TextImageConfig, load_text_image
from facemug_lib.modalities.captions import ASPECTS, NOUNS, sentence
from facemug_lib.weights import load_module, save_weights


@pytest.fixture(scope="module")
def model() -> SmallTextImage:
    torch.manual_seed(0)
    config = TextImageConfig(embed_dim=16, image_size=64, head_width=16, hidden=16, text_width=32, text_layers=1)
    return SmallTextImage(config).eval()


def test_embeddings_are_unit_vectors_and_pictures_have_gradients(model: SmallTextImage) -> None:
    images = torch.zeros(2, 3, 96, 96, requires_grad=True)
    faces, texts = model.embed_images(images), model.embed_texts(["a smiling woman", "an old man", "blond hair"])
    assert faces.shape == (2, 16) and texts.shape == (3, 16) and model.scores(faces, texts).shape == (2, 3)
    assert torch.allclose(texts.norm(dim=1), torch.ones(3), atol=1e-5)
    model.scores(faces, texts).sum().backward()
    assert images.grad is not None and bool(images.grad.isfinite().all())


def test_order_of_words_matters_and_case_does_not(model: SmallTextImage) -> None:
    a, b, c = model.embed_texts(["black hair, blond woman", "Black hair; BLOND woman!", "blond woman, black hair"])
    assert torch.equal(a, b) and not torch.allclose(a, c, atol=1e-4)


def test_fillers_and_synonyms(model: SmallTextImage) -> None:
    assert model.understood("Please make her look like an angry, bearded man") == ["an", "serious", "beard", "man"]
    assert model.understood("without glasses") == ["no", "glasses"]
    assert model.understood("“an OLD man” – (glasses & beard)…") == ["an", "old", "man", "glasses", "and", "beard"]
    assert model.understood("ａｎ ｏｌｄ　ｍａｎ") == ["an", "old", "man"]  # as a Japanese keyboard types it


@pytest.mark.parametrize(("text", "same"), [
    ("a woman with long black hair", "a woman with black long hair"), ("her hair is black", "black hair"),
    ("a blond man", "a blond hair man"), ("her skin is dark and her hair grey", "dark skin and grey hair"),
])
def test_adjectives_belong_to_nouns(model: SmallTextImage, text: str, same: str) -> None:
    ours, theirs = (sorted(model.bound(model.understood(words))) for words in (text, same))
    assert ours == theirs and any(" " in word for word in ours)


def test_colours_of_different_things_differ(model: SmallTextImage) -> None:
    ours, theirs = model.tokens(["black hair and dark skin", "dark hair and black skin"]).tolist()
    assert not set(ours[1:5]) & set(theirs[1:5]) - set(model.tokens(["glasses and glasses"])[0].tolist())


def test_every_caption_can_be_read(model: SmallTextImage) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        chosen = torch.randperm(len(ASPECTS), generator=generator)[:5]
        claims = {}
        for name, aspect in ((name, ASPECTS[name]) for name in (list(ASPECTS)[place] for place in chosen)):
            claims[name] = list(aspect.options)[int(torch.randint(len(aspect.options), (), generator=generator))]
        text = sentence(claims, generator)
        read = " ".join(model.bound(model.understood(text))).split()
        assert sorted(set(read) - set(NOUNS)) == sorted(set(text.replace(",", " ").split()) - set(NOUNS))


@pytest.mark.parametrize(("text", "message"), [
    ("a womn", "does not know 'womn': did you mean women or woman?"), ("purple", "it has words for gender, age"),
    ("an old black", "what is black: say black background or black clothes or black hair or black skin"),
    ("a big smile", "what is big: say big eyes"), ("her skin", "what skin is meant: say black skin or brown skin"),
    ("a man with a beard и очки", "does not know 'и' or 'очки'"), ("an old man aged 60", "'60'"), ("smiling 😀", "'😀'"),
    ("blond härig", "'härig'"), ("a man, 老", "'老'"), ("40% smile", "'40%'"), ("woman's hair", "woman"), ("10", "'10'"),
    ("the face", "says nothing"), ("", "says nothing"), (" ".join(["old"] * 60), "60 words: up to 38"),
])
def test_texts_that_cannot_be_read(model: SmallTextImage, text: str, message: str) -> None:
    with pytest.raises(FacemugError, match=message):
        model.embed_texts(["a man", text])


def test_weights_carry_their_own_words(model: SmallTextImage, tmp_path: Path) -> None:
    path = save_weights(tmp_path / "text_image.safetensors", model.state_dict(), config=model.config_dict(), card={},
                        dtype=torch.float32)
    again = load_module(path, SmallTextImage.from_config)
    assert again.config == model.config
    assert torch.allclose(again.embed_texts(["long hair"]), model.embed_texts(["long hair"]), atol=1e-6)


@pytest.mark.parametrize(("name", "message"), [
    ("ViT-B-31:openai", "no model 'ViT-B-31': try ViT-B-"), ("ViT-B-32", "names no weights"),
    ("ViT-B-32:/nowhere/weights.pt", "no checkpoint /nowhere/weights.pt"),
])
def test_names_of_published_models(name: str, message: str) -> None:
    with pytest.raises(FacemugError, match=message):
        load_text_image(name)


def test_a_checkpoint_of_open_clip(tmp_path: Path) -> None:
    import open_clip

    torch.manual_seed(0)
    known = open_clip.create_model("ViT-S-32-alt")
    path = tmp_path / "weights.pt"
    torch.save(known.state_dict(), path)
    model = load_text_image(f"ViT-S-32-alt:{path}")
    images = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1
    images.requires_grad_()
    embedded = model.embed_images(images)
    expected = known.eval().encode_image(((torch.nn.functional.interpolate(
        images, (224, 224), mode="bicubic", antialias=True).clamp(-1, 1) + 1) / 2 - model._mean) / model._std, normalize=True)
    assert torch.allclose(embedded, expected, atol=1e-5)
    embedded.sum().backward()
    assert float(images.grad.abs().max()) > 0
    assert model.embed_texts(["anything at all", "и очки", "word " * 75]).shape == (3, embedded.shape[1])
    with pytest.raises(FacemugError, match="has 76 tokens: up to 75 are read"):
        model.embed_texts(["word " * 76])
