"""The page is blind, the key is not, and votes are counted for the method that was on the side that was clicked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from facemug_lib.cli import main
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation.preference import count_votes, make_study, wilson

HEADER = "study,voter,pair,side,seconds\n"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for method, red in (("ours", 200), ("theirs", 20)):
        for number in range(12):
            path = tmp_path / method / "prior" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (red, number, 0)).save(path)
    (tmp_path / "ours" / "prior" / "alone.png").write_bytes(b"x")
    return tmp_path / "ours", tmp_path / "theirs"


@pytest.fixture
def study(folders: tuple[Path, Path], tmp_path: Path) -> Path:
    assert make_study(*folders, tmp_path / "study", count=10, seed=3) == 10
    return tmp_path / "study"


def side_of(key: dict, pair: int, method: int) -> str:
    return "left" if key["pairs"][pair]["left"] == method else "right"


def test_the_page_does_not_tell_and_the_key_does(study: Path):
    import base64
    import io

    page, key = (study / "page.html").read_text(), json.loads((study / "key.json").read_text())
    assert "ours" not in page and "theirs" not in page and "prior" not in page and "http" not in page
    assert {pair["left"] for pair in key["pairs"]} == {0, 1}
    shown = json.loads(re.search(r"pairs = (\[.*?\]);\n", page)[1])
    for pair, known in zip(shown, key["pairs"], strict=True):
        reds = {side: Image.open(io.BytesIO(base64.b64decode(pair[side].partition(",")[2]))).getpixel((0, 0))[0]
                for side in ("left", "right")}
        assert reds["left"] == (200, 20)[known["left"]] and set(reds.values()) == {200, 20}


def test_the_same_seed_makes_the_same_study(folders: tuple[Path, Path], study: Path, tmp_path: Path):
    make_study(*folders, tmp_path / "again", count=10, seed=3)
    assert (tmp_path / "again" / "key.json").read_text() == (study / "key.json").read_text()
    assert make_study(*folders, tmp_path / "all", count=99) == 12


def test_votes_count_for_the_method_behind_the_side(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    key = json.loads((study / "key.json").read_text())
    rows = [f"{key['study']},a,{pair},{side_of(key, pair, 0 if pair < 7 else 1)},1.0" for pair in range(10)]
    rows.append(f"{key['study']},a,9,{side_of(key, 9, 0)},2.0")  # another mind: the last vote counts
    (tmp_path / "votes.csv").write_text(HEADER + "\n".join(rows) + "\n")
    found = count_votes(study / "key.json", [tmp_path / "votes.csv"])
    assert (found.first, found.share, found.votes, found.voters) == ("ours", 0.8, 10, 1)
    assert main(["study", "count", str(study / "key.json"), str(tmp_path / "votes.csv")]) == 0
    assert "ours preferred to theirs: 80.0% (95 % interval 49.0% to 94.3%), 10 votes of 1 person" in capsys.readouterr().out


def test_the_interval_is_wilsons():
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 5) == pytest.approx((0, 0.4345), abs=1e-4) and wilson(5, 5) == pytest.approx((0.5655, 1), abs=1e-4)


@pytest.mark.parametrize(("content", "message"), [
    ("a,b\n1,2\n", "no votes: its columns"), (HEADER, "no vote in these files"), (HEADER + "other,a,0,left,1\n", "another study"),
    (HEADER + "STUDY,a,99,left,1\n", "pair 99"), (HEADER + "STUDY,a,0,up,1\n", "side 'up'"),
    (HEADER + "STUDY,a,x,left,1\n", "no votes")])
def test_bad_votes_are_refused(content: str, message: str, study: Path, tmp_path: Path):
    name = json.loads((study / "key.json").read_text())["study"]
    (tmp_path / "votes.csv").write_text(content.replace("STUDY", name))
    with pytest.raises(FacemugError, match=message):
        count_votes(study / "key.json", [tmp_path / "votes.csv"])


def test_bad_folders_and_keys_are_refused(folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty").mkdir()
    assert main(["study", "make", str(folders[0]), str(tmp_path / "empty"), "--out", str(tmp_path / "o")]) == 2
    assert "share no picture's name" in capsys.readouterr().err and not (tmp_path / "o").exists()
    with pytest.raises(FacemugError, match="given twice"):
        make_study(folders[0], folders[0], tmp_path / "o")
    (tmp_path / "key.json").write_text("{}")
    with pytest.raises(FacemugError, match="no key of a study"):
        count_votes(tmp_path / "key.json", [])
