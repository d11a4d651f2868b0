"""``facemug figures`` on a suite of three tiny notebooks whose kernels are played."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from facemug_lib.cli import main
from facemug_lib.commands import figure_making, runner
from facemug_lib.figures import registry
from facemug_lib.figures.registry import ALIKE, BY_HAND, GALLERY, NOT_HERE, PAPER, SOMETIMES, Figure

OPENING = """# 01 · Tiny

| profile | what | time |
|---|---|---|
| `smoke` | little | 3 s |
| `laptop` | more | 3 min |"""


class Kernel:
    """Plays the kernel: saves every picture that the notebook names, or fails."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.broken: set[str] = set()

    def __call__(self, notebook, path, output, values, scratch, recorded, done, report) -> None:
        self.ran.append(f"{path.stem} {values['profile']} {values['steps']}")
        (scratch / "figures").mkdir()
        for name in re.findall(r'figure_path\("([^"]+)"\)', "\n".join(cell.source for cell in notebook.cells)):
            if name != "fig02_never.png":
                Image.new("RGB", (20, 20), (values["steps"], 90, 90)).save(scratch / "figures" / name)
        if path.stem in self.broken:
            raise RuntimeError("no weights at data/weights/expert.safetensors")
        done.touch()


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A clone with the notebooks 01 and 02; the gallery shows one picture of 01, made with 9 steps."""
    (tmp_path / "notebooks").mkdir()
    for stem, names in {"01_tiny": ("fig01_a.png", "fig01_b.png"), "02_more": ("fig02_c.png", "fig02_never.png")}.items():
        cells = [nbformat.v4.new_markdown_cell(OPENING),
                 nbformat.v4.new_code_cell('profile = "smoke"\nsteps = 5', metadata={"tags": ["parameters"]}),
                 nbformat.v4.new_markdown_cell("## 1. What is seen")]
        cells += [nbformat.v4.new_code_cell(f'figure.savefig(figure_path("{name}"))') for name in names]
        profiles = {"smoke": {}, "laptop": {"steps": 7}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"facemug": {"profiles": profiles}}),
                       tmp_path / "notebooks" / f"{stem}.ipynb")
    monkeypatch.setattr(runner, "CLONE", tmp_path)
    monkeypatch.setenv("FACEMUG_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setattr(figure_making, "PAPER", (Figure("fig02_c.png", "a C", "02_more", paper=("Fig. 12",)),))
    shown = Figure("gallery/a.jpg", "an A", "01_tiny", "fig01_a.png", settings={"steps": 9})
    monkeypatch.setattr(figure_making, "GALLERY", (shown,))
    forget()
    played = Kernel()
    monkeypatch.setattr(runner, "_execute", played)
    return played


def forget() -> None:
    """A new process reads the notebooks anew."""
    figure_making._notebook.cache_clear()
    figure_making._facts.cache_clear()


def states() -> dict[str, str]:
    return {state.figure.file: state.state for state in map(figure_making.state_of, figure_making.known_figures())}


def test_all_is_made_once_and_then_fresh(kernel: Kernel, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(states().values()) == {"missing"} and main(["figures", "check"]) == 1
    assert main(["figures", "make", "fig01_a", "fig01_b", "a", "fig02_c"]) == 0
    assert sorted(kernel.ran) == ["01_tiny smoke 5", "01_tiny smoke 9", "02_more smoke 5"]
    assert states() == {"fig01_a.png": "fresh", "fig01_b.png": "fresh", "gallery/a.jpg": "fresh", "fig02_c.png": "fresh",
                        "fig02_never.png": "missing"}
    with Image.open(tmp_path / "figures" / "gallery" / "a.jpg") as image:
        assert image.getpixel((3, 3))[0] == pytest.approx(9, abs=3)
    assert main(["figures", "make", "fig01_a", "fig12"]) == 0 and len(kernel.ran) == 3
    assert "all fresh" in capsys.readouterr().out
    assert main(["figures", "make", "fig01_a", "--anew"]) == 0 and len(kernel.ran) == 4
    assert main(["figures", "make", "fig01_a", "--profile", "laptop"]) == 0 and kernel.ran[-1] == "01_tiny laptop 7"
    assert main(["figures", "make", "fig01_a"]) == 0 and len(kernel.ran) == 5  # what has cost more is not replaced
    assert main(["figures", "check", "fig01_a", "a"]) == 0


def test_a_failed_notebook_leaves_the_old_picture_and_lets_the_others_be_made(kernel: Kernel, tmp_path: Path,
                                                                              capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", "make", "fig01_b"]) == 0
    before = (tmp_path / "figures" / "fig01_b.png").read_bytes()
    kernel.broken.add("01_tiny")
    capsys.readouterr()
    assert main(["figures", "make", "fig01_b", "fig02_c", "--anew"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "01_tiny failed, fig01_b stay as they were" in said and "no weights at" in said
    assert (tmp_path / "figures" / "fig01_b.png").read_bytes() == before
    assert states()["fig01_b.png"] == states()["fig02_c.png"] == "fresh"


def test_a_picture_that_a_run_does_not_save_is_said(kernel: Kernel, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", "make", "--all"]) == 1
    assert "saved none of that name" in capsys.readouterr().err
    assert states()["fig02_c.png"] == "fresh" and states()["fig02_never.png"] == "missing"


def test_a_changed_cell_makes_its_notebooks_pictures_stale_and_no_others(kernel: Kernel, tmp_path: Path,
                                                                         capsys: pytest.CaptureFixture[str]) -> None:
    main(["figures", "make", "fig01_a", "fig02_c"])
    path = tmp_path / "notebooks" / "02_more.ipynb"
    path.write_text(path.read_text().replace("figure.savefig", "figure.save"))
    forget()
    assert (states()["fig01_a.png"], states()["fig02_c.png"]) == ("fresh", "stale")
    capsys.readouterr()
    assert main(["figures", "check", "fig01_a", "fig02_c"]) == 1
    assert capsys.readouterr().out == "fig02_c: stale: the code of 02_more\n1 of 2 fresh\n"


def test_list_and_how_say_it(kernel: Kernel, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["figures", "make", "fig02_c"])
    (tmp_path / "figures" / "own.png").write_bytes(b"x")
    Image.new("RGB", (9, 9)).save(tmp_path / "figures" / "fig01_a.png")
    capsys.readouterr()
    assert main(["figures", "list"]) == 0
    said = capsys.readouterr().out
    assert "01_tiny: smoke 3 s; laptop 3 min" in said and re.search(r"missing +fig01_b +What is seen", said)
    assert re.search(r"fresh, smoke +fig02_c +a C \[Fig. 12\]", said) and "unknown           own.png" in said
    assert re.search(r"no record +fig01_a", said) and all(why in said for why in (*NOT_HERE.values(), ALIKE))
    assert main(["figures", "list", "--json"]) == 0
    assert {one["name"]: one["state"] for one in json.loads(capsys.readouterr().out)}["fig02_c"] == "fresh"
    assert main(["figures", "how", "Fig. 12"]) == 0
    said = capsys.readouterr().out
    assert "facemug figures make fig02_c --profile smoke" in said and "parameters  profile=smoke, steps=5" in said


@pytest.mark.parametrize(("arguments", "message"), [
    (["how", "fig01_aa"], "no figure 'fig01_aa' (did you mean fig01_a?)"), (["make", "fig99"], "no figure 'fig99'"),
    (["make"], "or give --all"), (["make", "fig01_a", "--all"], "name none"),
    (["make", "fig01_a", "--profile", "paper"], "has no profile paper")])
def test_bad_input_gets_one_line(kernel: Kernel, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and message in said and not kernel.ran


# -- the registry ---------------------------------------------------------------------------------------------------------


def test_rows_of_the_registry_are_true() -> None:
    """Each names a notebook that saves the picture, and settings that it has."""
    named = [*PAPER, *GALLERY]
    assert len({figure.name for figure in named}) == len(named)
    for figure in named:
        notebook = runner.read_notebook(runner.find_notebook(figure.notebook))
        assert f'figure_path("{figure.saved_as}")' in "\n".join(cell.source for cell in notebook.cells), figure.file
        for profile in ("smoke", "laptop", "paper"):
            assert figure_making.resolve_parameters(notebook, figure.notebook, profile, figure.settings)


def test_every_picture_of_the_gallery_has_a_row() -> None:
    folder = Path(registry.__file__).parents[2] / "figures"
    pictures = {f"gallery/{path.name}" for path in (folder / "gallery").iterdir() if path.suffix != ".json"}
    assert pictures == {figure.file for figure in GALLERY} | set(BY_HAND)


def test_every_figure_and_table_of_the_paper_has_a_counterpart_or_a_reason() -> None:
    here = {label for figure in (*PAPER, *GALLERY) for label in figure.paper}
    numbers = (1, *range(5, 15), *range(17, 27))
    tables = ("I", "II", "III", "IV", "V", "VI", "VII")
    wanted = {f"Fig. {number}" for number in numbers} | {f"Table {numeral}" for numeral in tables}
    assert here | set(NOT_HERE) == wanted and not here & set(NOT_HERE)


def test_what_a_usual_run_does_not_save_is_saved_somewhere() -> None:
    assert set(SOMETIMES) <= {figure.file for figure in figure_making.known_figures()}
