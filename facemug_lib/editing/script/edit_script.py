"""Edit scripts: a readable JSON file that repeats an incremental edit exactly (FACEMUG §III-B and Figs 1, 8 and 23).

A script lists steps; each is one edit of what the steps before it left: a mask, guidance pictures, attributes, a seed. Pictures
lie beside the file as PNGs, or inside it as data URLs. Nothing is stored of the photo but what recognises it, so a script can be
sent around, edited by hand, and applied to another face: what was drawn on the first photo is carried over by both alignments.
Of a sampled face the script keeps how it was sampled, and needs no photo.

Taught in `notebooks/08_incremental_editing.ipynb`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import PIL.Image
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from torch import Tensor

from facemug_lib.devices import machine
from facemug_lib.editing.drawing import FACE_SIZE, Drawing, read_face
from facemug_lib.editing.edit import PICTURES, PLAIN, Edit
from facemug_lib.editing.editor import Editor
from facemug_lib.editing.known_faces import sampled_face
from facemug_lib.editing.schedule import MOST_STEPS
from facemug_lib.editing.schedule import PATTERN as SCHEDULE
from facemug_lib.editing.script.patches import Patch
from facemug_lib.editing.settings import TextEditSettings
from facemug_lib.errors import FacemugError
from facemug_lib.faces.alignment import AlignedFace, Frame, crop_photo
from facemug_lib.faces.photos import Photo, PhotoLike, write_image
from facemug_lib.files import replacing
from facemug_lib.progress import Check, Progress, unchecked
from facemug_lib.seeds import LARGEST_SEED

FORMAT: Literal["facemug edit script"] = "facemug edit script"
VERSION = 1
LARGEST_SCRIPT = 256 * 2**20  # bytes of the file, embedded pictures included
DATA_URL = "data:image/png;base64,"

Finite = Annotated[float, Field(allow_inf_nan=False)]
Strength = Annotated[float, Field(ge=-10, le=10, allow_inf_nan=False)]
Influence = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Refinement = Annotated[int, Field(ge=0, le=MOST_STEPS)] | Annotated[str, StringConstraints(pattern=SCHEDULE)]
Reference = Annotated[str, StringConstraints(min_length=1)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Step(_Model):
    """One :class:`facemug_lib.editing.edit.Edit` of the face that the steps before it left, as JSON holds it: pictures are names
    of files beside the script, or data URLs of PNGs; and how the step is called, and whether it is made."""

    name: Annotated[str, StringConstraints(max_length=200)] = ""
    mask: Reference | None = None  # none: a system edits the whole face
    sketch: Reference | None = None
    semantics: Reference | None = None
    colour: Reference | None = None
    exemplar: Reference | None = None
    exemplar_face: Annotated[int, Field(ge=0, lt=1000)] | None = None
    attributes: dict[str, Strength] = {}
    text: Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None = None
    text_source: Annotated[str, StringConstraints(min_length=1, max_length=1000)] = Edit.text_source
    text_steps: Annotated[int, Field(ge=1, le=10_000)] = Edit.text_steps
    text_model: Annotated[str, StringConstraints(pattern=r"^[\w.-]+(:[\w-]+)?$")] = Edit.text_model  # never a file
    # Whether the traits that the text names are followed first. Scripts from before that was done do not say so, and are repeated
    # as they were made.
    text_traits: bool = False
    influence: dict[str, Influence] = {}
    # Never "auto": what that was is kept, so that the step stays what it is.
    refine: Refinement = Edit.refine
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] = Edit.seed
    variety: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = Edit.variety
    guidance_frame: Literal["photo", "aligned"] = Edit.guidance_frame
    size: Literal["auto", 256, 512, 1024] = 256  # scripts that name none were made before there were others
    grain: bool = Edit.grain
    system: Annotated[str, StringConstraints(pattern=r"^[a-z]\w{0,50}$")] | None = None
    enabled: bool = True

    @classmethod
    def of(cls, **values: Any) -> Self:
        """A step, or :class:`FacemugError` with one line about the first value that does not fit."""
        return _checked(cls, values, "the edit")

    @classmethod
    def of_edit(cls, edit: Edit, pictures: Mapping[str, str]) -> Self:
        """The step of an edit whose pictures can be found under the references ``pictures``."""
        plain = {name: value for name in PLAIN if (value := getattr(edit, name)) is not None}
        return cls.of(**plain, **pictures, text_traits=edit.text is not None)

    def edit(self, face: AlignedFace, pictures: Mapping[str, Any], guidance_frame: Frame) -> Edit:
        """The step as an edit of ``face`` with these pictures, drawn in that frame."""
        plain = {name: getattr(self, name) for name in PLAIN} | {"guidance_frame": guidance_frame}
        return Edit(face, **pictures, **plain)

    def seeded(self, seed: int, variety: float) -> Self:
        """The step with another seed and variety."""
        return self.model_copy(update={"seed": seed, "variety": variety})

    def pictures(self) -> dict[str, str]:
        """Name → reference of the pictures that the step has."""
        return {name: getattr(self, name) for name in PICTURES if getattr(self, name) is not None}


class SampleRecord(_Model):
    """How a face was sampled: the arguments of :func:`facemug_lib.editing.known_faces.sampled_face`."""

    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)]
    psi: Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)] = 0.7
    mix_seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] | None = None
    mix_layers: Annotated[list[Literal["coarse", "middle", "fine"]], Field(max_length=3)] = []


class PhotoRecord(_Model):
    """What recognises the photo that a script was made on: SHA-256 of its pixels, its size, and the face's 2×3 alignment; of a
    sampled face also how to make it again."""

    sha256: Sha256
    width: Annotated[int, Field(ge=32, le=2**20)]
    height: Annotated[int, Field(ge=32, le=2**20)]
    matrix: Annotated[list[Annotated[list[Finite], Field(min_length=3, max_length=3)]], Field(min_length=2, max_length=2)]
    sample: SampleRecord | None = None


class EditScript(_Model):
    """The whole file. Every change gives a new script; the old one stays as it was."""

    format: Literal["facemug edit script"] = FORMAT
    version: Literal[1] = VERSION
    photo: PhotoRecord
    weights: dict[str, Sha256] = {}
    device: Annotated[str, StringConstraints(max_length=100)] = ""
    steps: Annotated[list[Step], Field(max_length=1000)] = []

    @classmethod
    def begun(cls, editor: Editor, face: AlignedFace, sample: SampleRecord | None = None, steps: Sequence[Step] = ()) -> Self:
        """A script of this editor on this face; ``sample`` says how a sampled one was made."""
        return cls(photo=photo_record(face, sample), weights=editor.hashes(), device=machine(editor.device)["device"],
                   steps=list(steps))

    # -- changing it ------------------------------------------------------------------------------------------------------

    def _with(self, steps: Sequence[Step]) -> Self:
        return self.model_copy(update={"steps": list(steps)})

    def added(self, step: Step, weights: Mapping[str, str] | None = None) -> Self:
        """The script with one more step at its end; ``weights`` are hashes of networks that only this step goes through."""
        more = self._with([*self.steps, step])
        return more.model_copy(update={"weights": {**self.weights, **weights}}) if weights else more

    def dropped(self, number: int) -> Self:
        """The script without step ``number``, counted from 1."""
        place = self._place(number)
        return self._with([*self.steps[:place], *self.steps[place + 1:]])

    def reordered(self, order: Sequence[int]) -> Self:
        """The steps in another order: their numbers, each once."""
        if sorted(order) != list(range(1, len(self.steps) + 1)):
            raise FacemugError(f"order {list(order)}: name each of the steps 1 … {len(self.steps)} once")
        return self._with([self.steps[number - 1] for number in order])

    def changed(self, number: int, **values: Any) -> Self:
        """Step ``number`` with other values, ``attributes={"smile": 2.0}`` say; everything is checked again."""
        place = self._place(number)
        if values.get("text") is not None:  # another text is another edit, made as edits are now
            values = {"text_traits": True} | values
        step = _checked(Step, {**self.steps[place].model_dump(), **values}, f"step {number}")
        return self._with([*self.steps[:place], step, *self.steps[place + 1:]])

    def _place(self, number: int) -> int:
        if not 1 <= number <= len(self.steps):
            raise FacemugError(f"there is no step {number}: the script has {len(self.steps)}, counted from 1")
        return number - 1

    # -- files ------------------------------------------------------------------------------------------------------------

    def write(self, path: Path | str, pictures: Mapping[str, PhotoLike] | None = None) -> Path:
        """Write the script and, beside it, the ``pictures`` (file name → pixels) that its steps refer to."""
        path = Path(path)
        for name, picture in (pictures or {}).items():
            write_image(_beside(path.parent, name), picture)
        text = json.dumps(self.model_dump(exclude_defaults=True) | {"format": FORMAT, "version": VERSION}, indent=1)
        with replacing(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read and check a script; whatever is wrong with it is said in one line."""
        path = Path(path)
        if not path.is_file():
            raise FacemugError(f"no script {path}: `facemug edit … --script-out` writes one")
        if path.stat().st_size > LARGEST_SCRIPT:
            raise FacemugError(f"{path} has {path.stat().st_size / 2**20:.0f} MiB: scripts of up to {LARGEST_SCRIPT >> 20} are "
                               "read; keep the pictures in files beside it")
        try:
            data = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_no_constant)
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            reason = str(error) or type(error).__name__
            raise FacemugError(f"{path} is not a JSON text ({reason}): name an edit script") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise FacemugError(f'{path} is no edit script: it must be an object with "format": "{FORMAT}"')
        if data.get("version") != VERSION:
            raise FacemugError(f"{path} has version {data.get('version')!r}: this program reads version {VERSION}")
        script = _checked(cls, data, str(path))
        for number, step in enumerate(script.steps, start=1):
            for name, reference in step.pictures().items():
                try:
                    _existing(path.parent, reference)
                except FacemugError as error:
                    raise FacemugError(f"{path}, step {number}, {name}: {error}") from error
        return script


def _no_constant(name: str) -> float:
    raise json.JSONDecodeError(f"{name} is not a JSON number", name, 0)


def _checked(model: type[_Model], data: Mapping[str, Any], where: str) -> Any:
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part + 1 if isinstance(part, int) else part) for part in first["loc"]) or "the whole"
        raise FacemugError(f"{where}, {place}: {first['msg'][0].lower()}{first['msg'][1:]}") from error


# -- pictures -------------------------------------------------------------------------------------------------------------


def _beside(folder: Path, reference: str) -> Path:
    """The file that a reference names: in the script's own folder or below it, never elsewhere."""
    target = folder / reference
    if "\\" in reference or "\0" in reference or Path(reference).is_absolute() \
            or not target.resolve().is_relative_to(folder.resolve()):
        raise FacemugError(f"{reference!r} leads out of the script's folder: put the picture beside the script")
    return target


def _existing(folder: Path, reference: str) -> None:
    if reference.startswith("data:"):
        if not reference.startswith(DATA_URL):
            raise FacemugError(f"embedded pictures start with {DATA_URL}: this one with {reference[:30]}")
    elif not _beside(folder, reference).is_file():
        raise FacemugError(f"no file {reference} beside the script")


def open_picture(folder: Path, reference: str) -> Path | PIL.Image.Image:
    """The picture that a step refers to: a path, or a decoded embedded one."""
    _existing(folder, reference)
    if not reference.startswith(DATA_URL):
        return _beside(folder, reference)
    try:
        image = PIL.Image.open(io.BytesIO(base64.b64decode(reference[len(DATA_URL):], validate=True)), formats=["PNG"])
        image.load()
    except Exception as error:  # decoders of damaged files raise whatever comes
        raise FacemugError(f"an embedded picture is no readable PNG ({type(error).__name__})") from error
    return image


def embedded(png: bytes) -> str:
    """A PNG file's bytes as a reference."""
    return DATA_URL + base64.b64encode(png).decode("ascii")


# -- making and repeating -------------------------------------------------------------------------------------------------


def photo_record(face: AlignedFace, sample: SampleRecord | None = None) -> PhotoRecord:
    """What a script keeps of a photo, or of a sampled face."""
    return PhotoRecord(sha256=pixels_hash(face.photo), width=face.photo.width, height=face.photo.height,
                       matrix=np.asarray(face.matrix, np.float64).tolist(), sample=sample)


def pixels_hash(photo: Photo) -> str:
    """SHA-256 of a photo's pixels, layout and depth; the file's compression does not matter."""
    pixels = np.ascontiguousarray(photo.pixels)
    return hashlib.sha256(f"{pixels.dtype} {pixels.shape}".encode() + pixels.tobytes()).hexdigest()


@dataclass(frozen=True, eq=False)
class StepResult:
    """What a step made: image [1,3,256,256] in [-1,1], the aligned face with the edit; mask, bool [1,1,256,256], where it was
    edited; and of the edit (:class:`EditResult`), whose tensors are ten times as many, how long it took and its remarks."""

    image: Tensor
    mask: Tensor
    seconds: float
    remarks: list[str]


@dataclass(frozen=True, eq=False)
class Replayed:
    """face: the photo after the last step, in the layout and type of the first one, with the same alignment; results: of the
    steps that were made; notes: why the pixels may differ from those of the script's author, and what the steps
    leave undone."""

    face: AlignedFace
    results: list[StepResult]
    notes: list[str]

    @property
    def photo(self) -> np.ndarray:
        """The pixels after the last step."""
        return self.face.original


@dataclass(eq=False)
class Replayer:
    """Repeats scripts on one photo. What earlier steps made is kept, 1 MB and what they changed of the photo for each, so that
    changing a late step does not repeat them."""

    editor: Editor
    face: AlignedFace | None  # None: the face that a script says how to sample
    folder: Path
    hashes: Mapping[str, str] | None = None  # of the editor's networks, where many photos are edited by the same ones
    _states: dict[str, tuple[Patch, StepResult]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, editor: Editor, photo: PhotoLike | AlignedFace | None, folder: Path | str = ".", face: int | None = None,
           hashes: Mapping[str, str] | None = None) -> Self:
        """``folder`` is where the script's pictures lie. Without a photo, only scripts of sampled faces can be replayed."""
        return cls(editor, None if photo is None else read_face(photo, face), Path(folder), hashes)

    def replay(self, script: EditScript, upto: int | None = None, progress: Progress | None = None) -> Replayed:
        """Make the enabled steps of a script, or the first ``upto`` of all its steps. ``progress`` is called with (step, steps)
        of each edit's own long work; what it raises ends the replay, and the steps made so far are kept."""
        face, is_same, notes = self.begin(script.photo)
        mine = dict(self.editor.hashes() if self.hashes is None else self.hashes)
        for name in {step.system for step in script.steps if step.enabled and step.system}:
            mine |= self.editor.hashes_of(name)
        notes += [f"the weights of {name} are not those that the script was made with" for name, known in script.weights.items()
                  if name in mine and mine[name] != known]
        results, key = [], script.photo.model_dump_json()
        for number, step in enumerate(script.steps if upto is None else script.steps[:upto], start=1):
            if not step.enabled:
                continue
            key = hashlib.sha256(f"{key} {step.model_dump_json()}".encode()).hexdigest()
            if key in self._states:
                patch, result = self._states[key]
                pixels = face.original.copy()
                patch.add(pixels)
                face = face.repainted(pixels)
            else:
                try:
                    made, result = self.make(face, step, None if is_same else script.photo, progress)
                except FacemugError as error:
                    raise FacemugError(f"step {number}{f' ({step.name})' if step.name else ''}: {error}") from error
                self._states[key] = Patch.between(face.original, made.original), result
                face = made
            results.append(result)
            notes += [f"step {number}: {remark}" for remark in result.remarks]
        return Replayed(face, results, notes)

    def begin(self, record: PhotoRecord) -> tuple[AlignedFace, bool, list[str]]:
        """(the face that the first step starts from, whether it is the script's own, what is to be said of that)."""
        is_same = self.face is not None and pixels_hash(self.face.photo) == record.sha256
        face, notes = self.face, []
        if record.sample is not None and (face is None or (is_same and face.codes is None)):
            face = sampled_face(self.editor.prior, **record.sample.model_dump())
            if pixels_hash(face.photo) != record.sha256:
                notes.append("the sampled face differs from the script's by rounding or by another prior")
            is_same = True
        elif face is None:
            raise FacemugError("the script was made on a photograph: name one with --photo, its own or another")
        elif not is_same:
            notes.append("another photo than the script's: what was drawn on that one is carried over by alignment")
        if is_same:  # the author's alignment, to the last bit
            matrix = np.array(record.matrix)
            kept = {} if np.array_equal(face.matrix, matrix) else {"codes": None, "likeness": None}  # of another crop
            face = replace(face, matrix=matrix, image=crop_photo(face.photo, matrix, FACE_SIZE), **kept)
        return face, is_same, notes

    def make(self, face: AlignedFace, step: Step, drawn_on: PhotoRecord | None = None,
             progress: Progress | None = None, check: Check = unchecked) -> tuple[AlignedFace, StepResult]:
        """One step, on the face that the steps before it left. ``drawn_on``: the photo that it was drawn on, if another one.
        ``progress`` and ``check`` are the editor's; what they raise ends the work."""
        made = self.editor.edit_many([self._edit(face, step, drawn_on)], progress=progress, check=check,
                                     text_settings=TextEditSettings(traits=step.text_traits))[0]
        check()
        result = StepResult(made.image.cpu(), made.conditions.mask.cpu() > 0.5, made.seconds, made.remarks)
        return face.repainted(made.paste_back()), result

    def images(self, face: AlignedFace, steps: Sequence[Step], progress: Progress | None = None,
               check: Check = unchecked) -> list[Tensor]:
        """Each of several steps on the same face, made together where they can be: the aligned faces [1,3,256,256] in [-1,1],
        whatever size the steps ask for. :meth:`make` gives each of them again, but for rounding."""
        text_settings = TextEditSettings(traits=any(step.text_traits for step in steps))  # variations of one step
        edits = [replace(self._edit(face, step), size=FACE_SIZE) for step in steps]
        return [made.image.cpu() for made in self.editor.edit_many(edits, progress=progress, check=check,
                                                                   text_settings=text_settings)]

    def _edit(self, face: AlignedFace, step: Step, drawn_on: PhotoRecord | None = None) -> Edit:
        pictures: dict[str, Any] = {name: open_picture(self.folder, reference) for name, reference in step.pictures().items()}
        frame = step.guidance_frame
        if frame == "photo" and drawn_on is not None:
            pictures, frame = pictures | _carried_over(pictures, drawn_on), "aligned"
        return step.edit(face, pictures, frame)


def _carried_over(pictures: Mapping[str, Any], record: PhotoRecord) -> dict[str, Any]:
    """Drawings on the script's photo as tensors in the aligned frame, which every face shares."""
    blank = Photo(np.zeros((record.height, record.width), np.uint8), "the script's photo")
    matrix = np.array(record.matrix)
    drawing = Drawing(AlignedFace(crop_photo(blank, matrix, FACE_SIZE), blank, matrix), "photo")
    return {name: getattr(drawing, name)(picture) for name, picture in pictures.items() if name != "exemplar"}
