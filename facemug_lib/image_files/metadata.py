"""What a photograph's file says beside its pixels, read and written again for an edited copy.

Carried over are the colour profile, the resolution, and of the EXIF data (CIPA DC-008) description, camera, date, author,
copyright and the settings of the exposure. Corrected or left out is what would be wrong of an upright, edited picture: its
orientation, its size, areas given in pixels, the thumbnail and the maker's notes (both can show the picture as it was). The place
stays only in a file of the same format: who converts a photograph to another format often does so to publish it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import PIL.Image
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngInfo

ORIENTATION = Base.Orientation
KEPT = (Base.ImageDescription, Base.Make, Base.Model, Base.Software, Base.DateTime, Base.Artist, Base.Copyright, Base.Rating,
        Base.XPTitle, Base.XPComment, Base.XPAuthor, Base.XPKeywords, Base.XPSubject)
SUBJECT_AREA = 0x9214
LEFT_OUT_OF_EXIF = (Base.MakerNote, IFD.Interop, SUBJECT_AREA, Base.SubjectLocation)
SIDES = (Base.ExifImageWidth, Base.ExifImageHeight)
PNG_KEYWORDS = ("Title", "Author", "Description", "Copyright", "Creation Time", "Software", "Disclaimer", "Source", "Comment")
PNG_TO_EXIF = {"Author": Base.Artist, "Copyright": Base.Copyright, "Description": Base.ImageDescription}
INCHES = 2  # EXIF's and TIFF's number for this unit
LARGEST_EXIF = 65_500  # bytes; a JPEG's segment has no more
TURNED = (5, 6, 7, 8)  # orientations that swap the sides


@dataclass(frozen=True, eq=False)
class Metadata:
    """format: the file's, as Pillow calls it ("JPEG"), or ""; dpi: pixels per inch across and down; tags: EXIF's first directory,
    exif and place: its two others, by tag number; texts: a PNG's, by keyword."""

    format: str = ""
    icc_profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    tags: Mapping[int, Any] = field(default_factory=dict)
    exif: Mapping[int, Any] = field(default_factory=dict)
    place: Mapping[int, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    def for_file(self, kind: str, width: int, height: int, grey: bool) -> Metadata:
        """What a picture made from this one says in a file of ``kind``, in which PNG's texts and EXIF stand for each other."""
        tags, exif, texts = dict(self.tags), dict(self.exif), dict(self.texts)
        for keyword, tag in PNG_TO_EXIF.items():
            if kind != "PNG" and keyword in texts:
                tags.setdefault(tag, texts[keyword])
        for tag, side in zip(SIDES, (width, height), strict=True):
            if tag in exif:
                exif[tag] = side
        profile = self.icc_profile if self.icc_profile and _fits(self.icc_profile, grey) else None
        return replace(self, format=kind, icc_profile=profile, tags=tags, exif=exif, texts=texts if kind == "PNG" else {},
                       place=self.place if kind == self.format else {})

    def directories(self) -> dict[int, Any]:
        """The EXIF data as tags of a TIFF, those of resolution left out."""
        found: dict[int, Any] = {tag: _as_stored(value) for tag, value in self.tags.items()}
        if self.exif:
            found[IFD.Exif] = dict(self.exif)
        if self.place:
            found[IFD.GPSInfo] = dict(self.place)
        return found

    def resolution(self) -> dict[int, Any]:
        """The resolution as tags of a TIFF."""
        if self.dpi is None:
            return {}
        return {Base.XResolution: self.dpi[0], Base.YResolution: self.dpi[1], Base.ResolutionUnit: INCHES}

    def save_options(self) -> dict[str, Any]:
        """Arguments of Pillow's ``save`` for a JPEG or PNG."""
        options: dict[str, Any] = {"icc_profile": self.icc_profile}
        if self.dpi is not None:
            options["dpi"] = self.dpi
        if directories := self.directories():
            exif = PIL.Image.Exif()
            for tag, value in (directories | self.resolution()).items():
                exif[tag] = value
            options["exif"] = exif.tobytes()
        if self.texts:
            options["pnginfo"] = PngInfo()
            for keyword, text in self.texts.items():
                options["pnginfo"].add_itxt(keyword, text)
        return options


def read_metadata(image: PIL.Image.Image, exif: PIL.Image.Exif) -> Metadata:
    """The metadata of an opened picture, for its upright pixels. What cannot be understood of it is as if it were not there."""
    plain = Metadata("JPEG" if image.format == "MPO" else image.format or "", image.info.get("icc_profile") or None)
    try:
        dpi = image.info.get("dpi")
        dpi = (float(dpi[0]), float(dpi[1])) if dpi and 0 < dpi[0] < 1e5 and 0 < dpi[1] < 1e5 else None
        if dpi and exif.get(ORIENTATION) in TURNED:
            dpi = dpi[::-1]
        texts = {key: str(text) for key, text in getattr(image, "text", {}).items() if key in PNG_KEYWORDS}
        found = replace(plain, dpi=dpi, texts=texts, tags={tag: exif[tag] for tag in KEPT if tag in exif},
                        exif={tag: value for tag, value in exif.get_ifd(IFD.Exif).items() if tag not in LEFT_OUT_OF_EXIF},
                        place=dict(exif.get_ifd(IFD.GPSInfo)))
        size = len(found.for_file("JPEG", 32, 32, False).save_options().get("exif", b""))
        return found if size <= LARGEST_EXIF else plain
    except Exception:  # Pillow's readers of damaged EXIF data raise whatever comes
        return plain


def chunks_of_png(metadata: Metadata) -> bytes:
    """The chunks that tell a PNG's reader of all this, to stand between the header and the pixels."""
    buffer = io.BytesIO()
    PIL.Image.new("L" if (metadata.icc_profile or b"")[16:20] == b"GRAY" else "RGB", (1, 1)).save(
        buffer, "PNG", **metadata.save_options())
    raw, place, found = buffer.getvalue(), 8, b""
    while place < len(raw):
        size = int.from_bytes(raw[place:place + 4], "big") + 12  # with length, name and checksum
        if raw[place + 4:place + 8] not in (b"IHDR", b"IDAT", b"IEND"):
            found += raw[place:place + size]
        place += size
    return found


def _as_stored(value: Any) -> Any:
    """Texts as the bytes that Pillow has read as Latin-1, whatever they were: it writes other letters than ASCII's as "?"."""
    if not isinstance(value, str):
        return value
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode()


def _fits(profile: bytes, grey: bool) -> bool:
    """Whether a colour profile is meant for such pixels; its header names a colour space (ICC.1, 7.2.6)."""
    return {b"GRAY": grey, b"RGB ": not grey, b"CMYK": False, b"Lab ": False}.get(profile[16:20], True)
