"""The editor's numbers in one table: value, meaning with its unit, and basis.

The paper's text lost its formulas' numbers, and says nothing of what a photograph needs beyond the networks. ``basis`` is
``paper``, the name of a published program or method, or ``ours``: chosen here, by looking at faces.

:func:`numbers_table` prints it all as rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


def number(value: Any, meaning: str, basis: str = "ours") -> Any:
    """A setting with its meaning and its basis."""
    return field(default=value, metadata={"meaning": meaning, "basis": basis})


@dataclass(frozen=True)
class PassSettings:
    """The one pass of the networks (:mod:`facemug_lib.editing.forward`)."""

    psi: float = number(0.7, "truncation of the random code w_z", "StyleGAN2")
    unknown_power: int = number(6, "power of the unknown share of a picture that w_z gets: much is left to the seed only where "
                                   "nearly all is hidden")
    guided_unknown: float = number(0.5, "how much of a hole counts as unknown where guidance says something about it")


@dataclass(frozen=True)
class RefineSettings:
    """Latent optimisation on the known pixels (:mod:`facemug_lib.editing.fill.refine`)."""

    lr_shared: float = number(0.05, "Adam's learning rate of the w offset that all codes share")
    lr_codes: float = number(0.01, "and of each code's own offset")
    perceptual: float = number(1.0, "weight of LPIPS on the known pixels")
    pixel: float = number(0.5, "weight of their squared error")
    pull: float = number(0.02, "weight of the squared distance to the anchor, in units of std(w)²")
    spread: float = number(0.02, "weight of the codes' squared distance from their mean, in units of std(w)²")
    semantics: float = number(0.3, "weight of the parse's cross-entropy at labelled pixels of the hole")
    sketch: float = number(0.6, "weight of 1 − cosine of pencil response and strokes")
    colour: float = number(2.0, "weight of the squared error of the low-passed picture at painted pixels")
    identity: float = number(0.3, "weight of 1 − cosine of face embeddings with the exemplar")
    resemblance: float = number(0.5, "weight of LPIPS with the exemplar inside the hole: keeps the identity term honest")
    likeness: float = number(0.5, "weight of the squared difference to the exemplar's colour mean and deviation")
    coarse_size: int = number(128, "picture size of most steps [px]")
    fine_share: float = number(0.1, "share of the steps made at 256 px, at the end")
    start_size: int = number(64, "picture size of the first steps, a third as expensive [px]")
    start_share: float = number(0.0, "share of the steps made at that size")
    ramp_up: float = number(0.05, "share of the steps over which the learning rates rise", "StyleGAN2's projector")
    ramp_down: float = number(0.4, "share of the steps over which they fall")
    nearness: float = number(40.0, "distance from the hole over which a known pixel's weight falls [px at 256]")
    far_weight: float = number(0.35, "weight to which it falls")


@dataclass(frozen=True)
class TextEditSettings:
    """The descent of a text edit (:mod:`facemug_lib.editing.latent.text`, Eq. 4 and 5).

    Steps have a length, which falls to 0, and go where the gradient points. StyleCLIP's Adam moves every entry of the codes
    alike, wanted or not: at the same distance from the start the text was followed less.
    """

    traits: bool = number(True, "whether what the text says of traits is followed along their directions first (Eq. 3); without, "
                                "all is left to the similarity, as in the paper")
    least_change: float = number(1.0, "least change of a trait where the source text says the opposite [deviations]")
    margin: float = number(0.75, "how far inside of a word's range a trait is brought [deviations]")
    most_change: float = number(1.5, "and the most that a text changes a trait by: beyond, age and gender make somebody else "
                                      "[deviations]")
    tolerance: float = number(0.2, "error at which traits are as the text says [deviations]")
    tries: int = number(4, "pictures that the search for the strengths may make")
    longest: float = number(3.0, "largest strength of a direction, where faces still look like faces [units]")
    furthest: float = number(16.0, "and largest way in W+ along one direction: age ends at 1.3 units, hair length at 0.9")
    missed: float = number(0.5, "share of a trait's way that is left at the search's end, from which the similarity takes over")
    least_gain: float = number(0.25, "directions that bring the traits nearer by less are not followed [deviations]")
    keep_steps: int = number(6, "steps that bring the person back where the directions said it all")
    keep_lr: float = number(1.5, "length of the first of them in W+")
    keep_latent: float = number(0.002, "weight of the squared distance from the codes before the directions, after them")
    hold: float = number(2.0, "weight of the squared loss of what the directions brought [deviations²]")
    others: float = number(0.03, "weight of the squared change of each trait that the text does not name [deviations²]")
    code_group: str | None = number(None, "group of codes that may move; none = the one that the text–image model names")
    lr: float = number(1.0, "length of the first step in W+ (std(w) has the norm 10)")
    momentum: float = number(0.7, "share of a step that goes on in the next one")
    direction: float = number(1.0, "λ1, weight of L_dir (Eq. 5)")
    target: float = number(2.0, "weight of 1 − cos(E_I, E_T(target)): L_dir alone is content with the smallest step", "StyleCLIP")
    latent: float = number(0.01, "λ2, weight of the squared distance in W+; less, and \"pale skin\" is burnt out")
    identity: float = number(1.5, "weight of 1 − cosine of the edit's and the face's embeddings; less, and texts make somebody "
                                  "else")
    views: int = number(2, "how many slightly moved and lit views of the picture are compared in each step")
    tilt: float = number(0.06, "largest turn (radians), zoom and shift (shares) of a view")
    patience: int = number(8, "steps after which the descent ends …")
    least: float = number(0.005, "… without so much progress of the loss")


@dataclass(frozen=True)
class ToningSettings:
    """The photo's own tones in the hole (:mod:`facemug_lib.editing.fill.toning`)."""

    sure: float = number(0.6, "probability from which a pixel counts as showing a material")
    enough: float = number(1000.0, "known pixels of a material that are trusted by half")
    margin: int = number(3, "width around the hole that is not measured, as labels are unsure there [px]")


@dataclass(frozen=True)
class PoseSettings:
    """Turning a face (:mod:`facemug_lib.editing.latent.pose`), and bringing its person back after the turn."""

    tolerance: float = number(1.0, "error at which a pose is as wanted [degrees]")
    tries: int = number(4, "pictures that a search may make; two or three are the rule")
    longest: float = number(3.0, "largest strength of yaw and pitch, where faces still look like faces [units]")
    keep_share: float = number(0.25, "steps that bring the person back, as a share of those before the turn")
    keep_group: str = number("upper", "group of codes that they move; the fine ones would feign a likeness by shades of the skin")
    keep_rate: float = number(0.02, "Adam's learning rate")
    keep_distance: float = number(0.02, "weight of the squared distance of the codes, in units of std(w)²")
    keep_size: int = number(128, "picture size [px]")


PASS, TONING, POSE = PassSettings(), ToningSettings(), PoseSettings()
TABLE = (PassSettings, RefineSettings, TextEditSettings, ToningSettings, PoseSettings)


def numbers_table() -> list[dict[str, Any]]:
    """All numbers as rows: part, name, value, meaning, basis."""
    return [{"part": kind.__name__.removesuffix("Settings").lower(), "name": one.name, "value": one.default, **one.metadata}
            for kind in TABLE for one in fields(kind)]
