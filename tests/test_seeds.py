"""One range of seeds for every command and every function that takes one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import facemug_lib as fm
from facemug_lib.cli import main
from facemug_lib.commands.notebook_parameters import Parameter
from facemug_lib.editing.latent import direction_fit
from facemug_lib.editing.script.edit_script import SampleRecord
from facemug_lib.editing.script.exploring import View
from facemug_lib.faces.code_space import CodeSpace
from facemug_lib.faces.dataset import training_seed
from facemug_lib.seeds import LARGEST_SEED, check_seed
from facemug_lib.training.stages import build_stage

RANGE = re.escape(str(LARGEST_SEED))


class Space(CodeSpace):
    """A code space that gives z back."""

    def map(self, z: torch.Tensor) -> torch.Tensor:
        return z


def boundary(seed: int) -> object:
    w = torch.randn(40, 512, generator=torch.Generator().manual_seed(0))
    return direction_fit.boundary("tall", w, w[:, 0], share=0.5, seed=seed)


TAKERS: dict[str, Callable[[int], object]] = {
    "edit": lambda seed: fm.Edit("photo.jpg", "mask.png", seed=seed),
    "faces": lambda seed: Space(3).w_of_seeds([seed]),
    "explorer": lambda seed: View(seed=seed),
    "explorer's second face": lambda seed: View(mix_seed=seed),
    "training face": lambda seed: training_seed(seed, 0),
    "boundary": boundary,
    "notebook": lambda seed: Parameter("face_seed", int, "int", 0).check(seed),
}


@pytest.mark.parametrize("take", TAKERS.values(), ids=TAKERS)
def test_the_range_is_the_same_everywhere(take: Callable[[int], object]) -> None:
    for seed in (0, 2**32, LARGEST_SEED):
        take(seed)
    for seed in (-1, LARGEST_SEED + 1, 2**64):
        with pytest.raises(fm.FacemugError, match=f"{seed}: use a whole number from 0 to {RANGE}") as caught:
            take(seed)
        assert "\n" not in str(caught.value)


def test_scripts_have_the_range_too() -> None:
    assert SampleRecord(seed=LARGEST_SEED).seed == LARGEST_SEED
    for seed in (-1, LARGEST_SEED + 1):
        with pytest.raises(ValueError, match="seed"):
            SampleRecord(seed=seed)


@pytest.mark.parametrize("seed", [1.5, "7", None, True])
def test_what_is_no_whole_number_is_refused(seed: object) -> None:
    with pytest.raises(fm.FacemugError, match=f"{seed!r}: use a whole number"):
        check_seed(seed)  # type: ignore[arg-type]


def test_integers_of_numpy_will_do() -> None:
    assert check_seed(np.int64(7)) == 7 and type(check_seed(np.uint64(LARGEST_SEED))) is int


def test_a_stage_is_not_begun_with_a_wrong_seed() -> None:
    with pytest.raises(fm.FacemugError, match=RANGE):
        build_stage("encoder", None, "cpu", seed=2**64)


@pytest.mark.parametrize("seed", [-1, LARGEST_SEED + 1, 2**64, 10**30])
@pytest.mark.parametrize("arguments", [
    ["edit", __file__, "--mask", __file__, "--out", "o.png"], ["sample", "--out", "o.png"],
    ["synthesize", "--count", "1", "--out", "folder"], ["train", "encoder"], ["average", "encoder", "a", "b", "--out", "folder"],
    ["subsets", __file__, "--mask", __file__, "--out", "o.png"],
])
def test_commands_name_the_range(arguments: list[str], seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "--seed", str(seed)]) == 2
    told = capsys.readouterr().err
    assert "--seed" in told and str(LARGEST_SEED) in told and told.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["sample", "synthesize"])
def test_the_last_of_several_seeds_is_in_the_range(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, "--out", "folder", "--count", "3", "--seed", str(LARGEST_SEED - 1)]) == 2
    assert "and the 2 after it" in capsys.readouterr().err and not list(tmp_path.iterdir())
