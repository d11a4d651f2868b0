"""The asset cache, against a hand-made wheel served to pip from a folder: no network is used."""

import errno
import hashlib
import os
import pickle
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from facemug_lib import asset_formats, assets
from facemug_lib.assets import Asset, AssetError
from facemug_lib.cli import main
from facemug_lib.machine import doctor


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEMUG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / assets.CACHE_VERSION


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A published package with one member, and an index that has it."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    path = shelf / "tiny_asset-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_asset/data.bin", b"payload")
        archive.writestr("tiny_asset-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-asset\nVersion: 1.0\n")
        archive.writestr("tiny_asset-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny_asset-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return path


def register(monkeypatch, wheel, **changes):
    settings = {
        "name": "tiny",
        "role": "a test",
        "requirement": "tiny-asset==1.0",
        "members": {"data": "tiny_asset/data.bin"},
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "filename": "tiny.bin",
        "licence": "none",
        "megabytes": 0.1,
        "convert": lambda members: members["data"].upper(),
    }
    settings |= changes
    asset = Asset(**({"content": assets.content_hash(settings["convert"]({"data": b"payload"}))} | settings))
    monkeypatch.setitem(assets.ASSETS, "tiny", asset)
    return asset


def test_fetches_converts_once_and_works_offline(cache, wheel, monkeypatch):
    register(monkeypatch, wheel)
    path = assets.asset_path("tiny")
    assert path == cache / "tiny.bin"
    assert path.read_bytes() == b"PAYLOAD"
    wheel.unlink()  # the index is gone: only the cache can answer
    assert assets.asset_path("tiny").read_bytes() == b"PAYLOAD"
    assert [p.name for p in cache.iterdir()] == ["tiny.bin"]


def test_wrong_hash_is_refused_and_leaves_nothing(cache, wheel, monkeypatch):
    register(monkeypatch, wheel, sha256="0" * 64)
    with pytest.raises(AssetError, match="SHA-256") as caught:
        assets.asset_path("tiny")
    assert "\n" not in str(caught.value)
    assert list(cache.iterdir()) == []


def test_missing_package_is_one_line(cache, wheel, monkeypatch):
    register(monkeypatch, wheel, requirement="tiny-asset==9.9")
    with pytest.raises(AssetError, match=r"tiny-asset==9\.9") as caught:
        assets.asset_path("tiny")
    assert "\n" not in str(caught.value)
    assert list(cache.iterdir()) == []


def test_no_network_is_named(cache, wheel, monkeypatch):
    register(monkeypatch, wheel)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nothing listens there
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(AssetError, match="no connection"):
        assets.asset_path("tiny")
    assert list(cache.iterdir()) == []


def test_full_disk_is_named_and_leaves_nothing(cache, wheel, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    register(monkeypatch, wheel)
    monkeypatch.setattr(assets.os, "replace", full)
    with pytest.raises(AssetError, match="disk full"):
        assets.asset_path("tiny")
    assert list(cache.iterdir()) == []


def test_unwritable_cache_is_named(tmp_path, wheel, monkeypatch):
    register(monkeypatch, wheel)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FACEMUG_CACHE", str(tmp_path / "file"))
    with pytest.raises(AssetError, match="FACEMUG_CACHE"):
        assets.asset_path("tiny")


def test_a_killed_fetch_is_cleaned_up_and_resumed(cache, wheel, monkeypatch):
    register(monkeypatch, wheel)
    victim = subprocess.Popen([sys.executable, "-c", "pass"])
    victim.wait()
    leftover = cache / f".partial-{victim.pid}"
    leftover.mkdir(parents=True)
    (leftover / "half.whl").write_bytes(b"half")
    assert assets.asset_path("tiny").read_bytes() == b"PAYLOAD"
    assert not leftover.exists()


def test_unknown_names_list_the_known(cache):
    with pytest.raises(AssetError, match="prior"):
        assets.asset_path("nonsense")


def test_every_asset_is_pinned():
    for asset in assets.ASSETS.values():
        assert "==" in asset.requirement
        assert len(asset.sha256) == 64
        assert asset.licence


def test_restricted_unpickler_reads_arrays_and_refuses_code():
    tree = {"params": {"Conv_0": {"kernel": np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)}}}
    blob = pickle.dumps(tree, protocol=3)
    assert np.array_equal(
        asset_formats.unpickle_numpy_tree(blob)["params"]["Conv_0"]["kernel"], tree["params"]["Conv_0"]["kernel"]
    )
    with pytest.raises(pickle.UnpicklingError, match="refused"):
        asset_formats.unpickle_numpy_tree(pickle.dumps(os.system))


def test_flax_kernels_become_torch_layout():
    kernel = np.random.default_rng(0).standard_normal((3, 3, 2, 5)).astype(np.float32)
    blob = pickle.dumps({"VGG16_0": {"Conv_0": {"kernel": kernel, "bias": np.zeros(5, np.float32)}}}, protocol=3)
    tensors = asset_formats.flax_backbone(blob, "VGG16_0", (0,))
    assert tensors["features.0.weight"].shape == (5, 2, 3, 3)
    assert tensors["features.0.weight"][4, 1, 2, 0].item() == pytest.approx(kernel[2, 0, 1, 4])


def test_safetensors_asset_round_trip(cache, wheel, monkeypatch):
    register(monkeypatch, wheel, filename="tiny.safetensors", convert=lambda _: {"a": torch.arange(3.0)})
    assert torch.equal(assets.load_asset("tiny")["a"], load_file(cache / "tiny.safetensors")["a"])


def cut_short(data):
    return data[:len(data) // 2]


def one_bit(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def nothing(data):
    return b""


@pytest.mark.parametrize("damage", [cut_short, one_bit, nothing])
@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_a_damaged_file_is_named_by_whoever_opens_it(suffix, damage, cache, wheel, monkeypatch, capsys):
    tensors = {".safetensors": lambda _: {"a": torch.arange(300.0)}}
    asset = register(monkeypatch, wheel, filename=f"tiny{suffix}", **({"convert": tensors[suffix]} if suffix in tensors else {}))
    path = assets.asset_path("tiny")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    monkeypatch.setattr(assets, "_verified", {})  # as in another process
    capsys.readouterr()
    line = re.escape(str(path)) + ".*damaged.*: delete it and it is fetched again"
    for opened in (assets.asset_path, *([assets.load_asset] if suffix in tensors else [])):
        with pytest.raises(AssetError, match=line) as caught:
            opened("tiny")
        assert "\n" not in str(caught.value)
    assert main(["assets", "tiny"]) == 2 and capsys.readouterr().err.count("\n") == 1
    check = doctor._assets()
    assert check.status == "broken" and re.search(line, check.text)
    path.unlink()  # as the line says
    assert assets.asset_path("tiny").read_bytes() == whole
    assert asset.cached and doctor._assets().status != "broken"


@pytest.mark.parametrize(("suffix", "opened", "other"), [(".onnx", assets.asset_bytes, assets.load_asset),
                                                         (".safetensors", assets.load_asset, assets.asset_bytes)])
def test_what_is_verified_is_what_is_returned(suffix, opened, other, cache, wheel, monkeypatch):
    """The file is read once, so that it cannot change between the check and its use."""
    tensors = {"convert": lambda _: {"a": torch.arange(300.0)}} if suffix == ".safetensors" else {}
    register(monkeypatch, wheel, filename=f"tiny{suffix}", **tensors)
    assets.asset_path("tiny")
    monkeypatch.setattr(assets, "_verified", {})
    reads = []
    read_bytes = assets.Path.read_bytes
    monkeypatch.setattr(assets, "load_file", lambda path: reads.append(path) or load_file(path))
    monkeypatch.setattr(assets.Path, "read_bytes", lambda path: reads.append(path) or read_bytes(path))
    content = opened("tiny")
    assert len(reads) == 1 and assets.content_hash(content) == assets.ASSETS["tiny"].content
    with pytest.raises(AssetError, match=f"use {opened.__name__}"):
        other("tiny")


def test_an_unreadable_file_is_named(cache, wheel, monkeypatch):
    register(monkeypatch, wheel)
    assets.asset_path("tiny").unlink()

    def refused(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    (cache / "tiny.bin").write_bytes(b"PAYLOAD")
    monkeypatch.setattr(assets.Path, "read_bytes", refused)
    with pytest.raises(AssetError, match=r"tiny\.bin cannot be read \(Permission denied\)"):
        assets.asset_path("tiny")


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX ones")
@pytest.mark.parametrize("filename", ["tiny.bin", "tiny.safetensors"])
def test_cached_files_follow_the_umask(filename, cache, wheel, monkeypatch):
    changes = {"convert": lambda _: {"a": torch.arange(3.0)}} if filename.endswith("safetensors") else {}
    register(monkeypatch, wheel, filename=filename, **changes)
    before = os.umask(0o027)
    try:
        path = assets.asset_path("tiny")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
