"""Which pictures the project makes of which notebook, what of the paper each stands for, and what has no counterpart here.

Notebooks save more pictures than are named here; ``facemug figures list`` finds those in their cells. A row is needed where a
picture answers one of the paper's, or where it is shown by the README and so has a place in ``figures/gallery``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A picture that can be made again.

    file: where it goes, below ``figures/``. source: what the notebook calls it. settings: parameters of the notebook that are set
    whatever the profile. paper: the paper's figures and tables that it answers.
    """

    file: str
    shows: str
    notebook: str
    source: str = ""
    paper: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called on the command line: its file's name without folder and ending."""
        return PurePosixPath(self.file).stem

    @property
    def saved_as(self) -> str:
        """The name that the notebook saves it under."""
        return self.source or PurePosixPath(self.file).name


def _of_paper(file: str, paper: str, shows: str) -> Figure:
    notebooks = {"00": "00_quickstart", "04": "04_latent_warping", "06": "06_latent_directions", "07": "07_text_editing",
                 "08": "08_incremental_editing", "10": "10_ablations", "11": "11_figures"}
    return Figure(file, shows, notebooks[file[3:5]], paper=tuple(paper.split(", ")))


PAPER = (
    _of_paper("fig08_steps.png", "Fig. 1, Fig. 8", "four edits in a row, each of another kind, on one photograph"),
    _of_paper("fig07_photo.png", "Fig. 5", "a photograph that follows a text inside a mask"),
    _of_paper("fig11_with_and_without_mask.png", "Fig. 6, Fig. 7",
              "guidance with the face around the hole, and guidance alone; our rows only"),
    _of_paper("fig11_sketched_parts.png", "Fig. 9, Fig. 25", "another face's lines, one part of the face at a time"),
    _of_paper("fig11_label_maps.png", "Fig. 10, Fig. 11, Fig. 26", "another face's labels, one region at a time; our rows only"),
    _of_paper("fig11_modality_subsets.png", "Fig. 12", "all 32 subsets of five modalities on one face"),
    _of_paper("fig11_warping.png", "Fig. 13", "exemplars in another pose, with and without latent warping"),
    _of_paper("fig11_warping_scores.png", "Fig. 14", "what warping changes, by kind of hole"),
    _of_paper("fig11_diverse_results.png", "Fig. 17", "one hole and one colour, several seeds"),
    _of_paper("fig00_strokes.png", "Fig. 17", "strokes of colour on hair and lips"),
    _of_paper("fig06_photo.png", "Fig. 18", "attributes moved inside a mask"),
    _of_paper("fig06_wink.png", "Fig. 18", "one eye masked and closed"),
    _of_paper("fig11_exemplars.png", "Fig. 19", "three faces, each in the looks of three others"),
    _of_paper("fig11_poses.png", "Fig. 20, Fig. 21, Fig. 22", "faces turned to the front, mirrored, and as another face is"),
    _of_paper("fig11_long_series.png", "Fig. 23", "ten edits in a row"),
    _of_paper("fig00_photo_edits.png", "Fig. 24", "one modality at a time and all together"),
    _of_paper("fig11_paper_tables.png", "Table I, Table II, Table IV, Table V, Table VII",
              "our rows of the paper's tables, without text"),
    _of_paper("fig10_ablations.png", "Table VI", "ablations A–E, trained with equal budgets, beside the paper's rows"),
)
"""Our counterparts of the paper's figures and tables."""

NOT_HERE = {
    "Table III": "it needs people's votes: `facemug study make` writes the blinded page, `facemug study count` counts them",
}
"""What of the paper's figures and tables has no counterpart, and why."""

ALIKE = "other methods' columns: their weights are not in any package index; `facemug evaluate --images` scores what they made"
"""What every comparison of the paper lacks here."""

GALLERY = (
    Figure("gallery/quickstart.png", "edits of a photograph, refined by 24 steps", "00_quickstart", "fig00_photo_edits.png",
           settings={"steps": 24, "sampled_steps": 12}),
    Figure("gallery/quickstart_sampled.png", "edits of a sampled face, refined by 12 steps", "00_quickstart",
           "fig00_sampled_edits.png", settings={"steps": 24, "sampled_steps": 12}),
    Figure("gallery/strokes.png", "strokes of colour, one pass", "00_quickstart", "fig00_strokes.png",
           settings={"steps": 24, "sampled_steps": 12}),
    Figure("gallery/wink.png", "one eye masked and closed", "06_latent_directions", "fig06_wink.png", settings={"refine": 8}),
    Figure("gallery/entanglement.png", "what one unit of each direction does to every attribute", "06_latent_directions",
           "fig06_entanglement.png", settings={"count": 100, "names": []}),
    Figure("gallery/sweeps.jpg", "one face moved along every direction", "06_latent_directions", "fig06_sweeps.png",
           settings={"count": 100, "names": []}),
    Figure("gallery/pose.png", "four faces turned as four others are", "04_latent_warping", "fig04_pose.png",
           settings={"turns": 4, "refine": 40}),
    Figure("gallery/incremental.png", "four edits in a row", "08_incremental_editing", "fig08_steps.png", settings={"refine": 6}),
    Figure("gallery/baselines.jpg", "every method on the first faces of each family of holes", "09_evaluation",
           "fig09_contact_sheet.png", settings={"count": 20, "families": ["irregular", "centre", "hair", "face", "foreground"],
                                                "parts": ["completion"]}),
    Figure("gallery/uncurated.jpg", "24 edits that nobody chose, one pass", "11_figures", "fig11_uncurated.png",
           settings={"parts": ["uncurated"], "count": 24}),
    Figure("gallery/influence.png", "guidance that contradicts itself", "11_figures", "fig11_influence.png",
           settings={"parts": ["influence"]}),
    Figure("gallery/text.png", "three faces that follow four texts", "11_figures", "fig11_texts.png", paper=("Fig. 5",),
           settings={"parts": ["texts"]}),
)
"""The pictures of the README and of ``figures/README.md``; what they show does not hang on the profile."""

BY_HAND = {
    name: "a picture of the screen: JupyterLab with the widget, in a browser"
    for name in ("gallery/painter_light.png", "gallery/painter_dark.png", "gallery/explorer_light.png",
                 "gallery/explorer_dark.png")
} | {
    f"gallery/{name}.jpg": "photographs that the project does not hold: scripts/systems_gallery.py"
    for name in ("systems", "psam", "l2m_gan", "relative_au", "diat")
} | {"gallery/systems_curves.png": "the statistics of long training runs: scripts/systems_gallery.py --run"}
"""Pictures of the gallery that no notebook can make."""

SOMETIMES = {
    "fig90_teacher_and_student.png": "only where the teachers are in the cache: `facemug assets --all`",
    "fig11_uncurated.png": "for the gallery alone: `facemug figures make uncurated`",
    "fig11_influence.png": "for the gallery alone: `facemug figures make influence`",
    "fig11_texts.png": "for the gallery alone: `facemug figures make text`",
}
"""Pictures that a usual run of their notebook does not save, and when it does."""
