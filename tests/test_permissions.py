"""What the system allows: files follow the user's umask, and a full disk is one line."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from facemug_lib import weights
from facemug_lib.errors import FacemugError
from facemug_lib.faces.photos import write_image
from facemug_lib.files import replacing
from facemug_lib.store import Store
from facemug_lib.training.checkpoints import save_checkpoint

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX ones")


@pytest.fixture(params=[0o077, 0o022, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def text(folder: Path) -> None:
    with replacing(folder / "text.json") as temporary:
        temporary.write_text("{\"a\": \"whole file\"}")


def picture(folder: Path) -> None:
    write_image(folder / "picture.png", np.zeros((40, 40, 3), np.uint8))


def tensors(folder: Path) -> None:
    weights.save_weights(folder / "net.safetensors", {"w": torch.zeros(2)}, config={}, card={})


def arrays(folder: Path) -> None:
    Store(folder / "store").get({"what": "zeros"}, lambda: {"x": np.zeros(2)})


def checkpoint(folder: Path) -> None:
    save_checkpoint(folder / "run", 8, {"w": torch.zeros(2)})


@pytest.mark.parametrize("write", [text, picture, tensors, arrays, checkpoint])
def test_new_files_and_folders_follow_the_umask(write: Callable[[Path], None], umask: int, tmp_path: Path) -> None:
    write(tmp_path)
    made = list(tmp_path.rglob("*"))
    assert any(path.is_file() for path in made)
    for path in made:
        assert mode(path) == (0o777 if path.is_dir() else 0o666) & ~umask, path


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    old = tmp_path / "private.png"
    old.touch(0o600)
    old.chmod(0o600)
    picture_of = np.full((40, 40), 7, np.uint8)
    write_image(old, picture_of)
    assert mode(old) == 0o600 and old.stat().st_size > 0


def test_a_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    old = tmp_path / "old.txt"
    old.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(old) as temporary:
        temporary.write_text("new")
        raise ZeroDivisionError
    assert old.read_text() == "old" and list(tmp_path.iterdir()) == [old]


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path) -> None:
    longest = tmp_path / ("ж" * 125 + ".txt")  # 254 bytes
    with replacing(longest) as temporary:
        temporary.write_text("there")
    assert longest.read_text() == "there"


@pytest.mark.parametrize("write", [text, picture, tensors, arrays, checkpoint])
def test_a_full_disk_is_one_line_and_leaves_no_file(write: Callable[[Path], None], tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))  # no file may have more bytes; Python ignores the signal
    try:
        with pytest.raises((FacemugError, OSError)) as caught:
            write(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "File too large" in str(caught.value) and "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
