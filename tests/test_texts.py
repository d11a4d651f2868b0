"""What the texts for people promise is there: links, files, notebooks, commands and their options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from facemug_lib.commands.program import app
from facemug_lib.commands.runner import list_notebooks

ROOT = Path(__file__).resolve().parent.parent
TEXTS = ("README.md", "CONTRIBUTING.md", "data/README.md", "data/weights/README.md", "data/weights/HISTORY.md",
         "figures/README.md")
every_text = pytest.mark.parametrize("name", TEXTS)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """What a link may name after `#`, by the rule of the sites that show Markdown: small letters, hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_text
def test_links_lead_to_files_and_headings(name: str):
    targets = re.findall(r"\]\(([^)\s]+)\)", read(name))
    for target in (target for target in targets if not target.startswith("https://")):
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


@every_text
def test_files_that_are_named_exist(name: str):
    named = re.findall(r"`(?:facemug_lib/)?((?:\w+/)+\w+\.(?:py|js|css|json))`", read(name))
    there = [path for path in named if any((root / path).is_file() for root in (ROOT, ROOT / "facemug_lib"))]
    assert [path for path in named if "NAME" not in path] == there


def commands_of(text: str) -> list[list[str]]:
    """Every `facemug …` of inline code and of code blocks, split as a shell would; what follows a `#` is a comment."""
    inline = re.findall(r"`(facemug [^`\n]+)`", text)
    blocks = "".join(re.findall(r"```\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in inline + re.findall(r"^facemug .+$", blocks, re.MULTILINE)]


@every_text
def test_commands_and_options_that_are_named_exist(name: str):
    for _, *words in commands_of(read(name)):
        command = get_command(app)
        while words and hasattr(command, "commands") and not words[0].startswith("-"):
            word = words.pop(0).rstrip(",")
            assert word in command.commands, f"{name}: facemug {word}"
            command = command.commands[word]
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options, f"{name}: {command.name} {words}"


def paper_rows() -> list[list[str]]:
    """The rows of the README's table of the paper: what, files, notebooks, commands."""
    part = read("README.md").split("## The paper, line by line")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in part.splitlines() if line.startswith("| ")]
    return rows[1:]


def test_the_table_of_the_paper_is_whole_and_true():
    numbers = {path.stem[:2] for path in list_notebooks()}
    for what, file, notebooks, _ in paper_rows()[:-1]:
        assert (ROOT / "facemug_lib" / file.strip("`")).exists(), what
        assert set(notebooks.split(", ")) <= numbers, what
    said = " ".join(row[0] for row in paper_rows())
    assert _numbers(said, r"Eq\. ") == set(range(1, 25))
    assert _numbers(said, r"Fig\. ") == set(range(1, 27))
    assert set(re.findall(r"Algorithm (\d)", said)) == {"1", "2", "3"}
    assert {numeral for part in re.findall(r"Tables? ([IV]+(?:, [IV]+)*)", said) for numeral in part.split(", ")} \
        == {"I", "II", "III", "IV", "V", "VI", "VII"}


def _numbers(text: str, mark: str) -> set[int]:
    """3, 4, 5 and 9 of "Eq. 3–5, 9"."""
    found: set[int] = set()
    for part in re.findall(rf"{mark}(\d+(?:(?:, |–)\d+)*)", text):
        for piece in part.split(", "):
            first, _, last = piece.partition("–")
            found |= set(range(int(first), int(last or first) + 1))
    return found


def test_the_readme_is_short():
    assert len(read("README.md").splitlines()) <= 220


def test_every_notebook_has_its_place_in_the_readme():
    assert re.findall(r"^\| \[(\w+)\]", read("README.md"), re.MULTILINE) == [path.stem for path in list_notebooks()]


def test_every_picture_of_the_gallery_is_explained():
    pictures = {path.name for path in (ROOT / "figures" / "gallery").iterdir() if path.suffix != ".json"}
    assert pictures == set(re.findall(r"`(\w+\.(?:png|jpg))`", read("figures/README.md")))
