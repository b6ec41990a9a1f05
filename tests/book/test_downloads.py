"""The archive of a run's answers: everything that was said, exactly; nothing that runs."""

import csv
import io
import json
import zipfile
from pathlib import Path

import downloads
import pytest

from limalib import records
from limalib.__main__ import main
from limalib.records import Dialogue, Grade, Response, Turn

META = {"kind": "fact", "wording": "web", "safety": False, "out_of_distribution": False}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two prompts; LIMA answers both, the base one that nobody graded."""
    prompts = [Dialogue(name, (Turn("user", f"What is {name}?"),), "b", META) for name in "ab"]
    records.write(tmp_path / "data" / "test.jsonl", prompts)
    lima = [Response("a", "lima", 0, 0, "=1+1", True, 3), Response("b", "lima", 0, 0, "é", True, 1)]
    records.write(tmp_path / "responses" / "lima" / "seed-0.jsonl", lima)
    base = [Response("a", "base_zero_shot", 0, 0, "So.", False, 1)]
    records.write(tmp_path / "responses" / "base_zero_shot" / "seed-0.jsonl", base)
    grades = [Grade(name, "lima", 0, 0, 4, None, "pass", None, facts=name == "a") for name in "ab"]
    records.write(tmp_path / "judgments" / "oracle" / "lima" / "seed-0.jsonl", grades)
    return tmp_path


def unpacked(content: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_every_answer_is_there_with_its_prompt_and_its_grade(runs: Path) -> None:
    [content] = downloads.files(runs).values()
    found = unpacked(content)
    rows = [json.loads(line) for line in found["lima-book/answers.jsonl"].splitlines()]
    said = [(row["system"], row["prompt"], row["text"], row["judge"], row["facts"]) for row in rows]
    assert said == [
        ("base_zero_shot", "What is a?", "So.", "", None),
        ("lima", "What is a?", "=1+1", "oracle", True),
        ("lima", "What is b?", "é", "oracle", False),
    ]
    assert {(row["kind"], row["wording"]) for row in rows} == {("fact", "web")}


def test_in_csv_no_answer_is_a_formula(runs: Path) -> None:
    [content] = downloads.files(runs).values()
    rows = list(csv.DictReader(io.StringIO(unpacked(content)["lima-book/answers.csv"])))
    assert [row["text"] for row in rows] == ["So.", "'=1+1", "é"]


def test_all_claims_are_there_without_a_study_or_a_run(runs: Path) -> None:
    [content] = downloads.files(runs).values()
    lines = unpacked(content)["lima-book/claims.jsonl"].splitlines()
    first = json.loads(lines[0])
    assert (first["claim"], first["primary"], first["run"]) == ("few_beat_many", True, None)
    assert list(first) == list(downloads.CLAIM)


def test_equal_runs_give_equal_archives_and_the_page_says_what_is_in_them(runs: Path) -> None:
    assert downloads.files(runs) == downloads.files(runs)
    assert "**answers**, 3 rows, as `answers.jsonl` and `answers.csv`" in downloads.page(runs)


def test_of_an_invented_world_what_chapters_read_is_there_and_no_more(runs: Path) -> None:
    for name in (
        "raw/answer_key.jsonl", "raw/stackexchange/Posts.xml", "data/lima.card.json",
        "metrics/03_preference.json", "provenance/03_preference.json", "models/lima/tuning.json",
        "models/lima/seed-0/model.safetensors", "models/lima/seed-0/rates/0.001/optimizer.pt",
        "models/howto/seed-0/model.safetensors", "models/howto/seed-0/training.json",
        "judgments/person/lima/seed-0.jsonl", "notebooks/03_preference.ipynb",
        "responses/Vicuna/replies.jsonl", "models/feedback_oracle/seed-0/preferences.jsonl",
        "models/lima_dialogues/seed-0/config.json", "models/unknown_1/seed-0/config.json",
    ):  # fmt: skip
        (runs / name).parent.mkdir(parents=True, exist_ok=True)
        (runs / name).write_text("{}" if name.endswith(".json") else "")
    with zipfile.ZipFile(io.BytesIO(downloads.files(runs)[downloads.RUN])) as archive:
        names = [name.removeprefix(f"{runs.name}/") for name in archive.namelist()]
        assert {each.date_time[0] for each in archive.infolist()} == {1980}  # equal, whenever
        assert {each.external_attr >> 16 for each in archive.infolist()} == {0o644}
        about = archive.read(f"{runs.name}/README.md").decode()
    assert f"of the scale {runs.name}\n" in about
    assert "Apache License 2.0" in about
    assert names == [
        "README.md", "data/lima.card.json", "data/test.jsonl", "judgments/oracle/lima/seed-0.jsonl",
        "metrics/03_preference.json", "models/feedback_oracle/seed-0/preferences.jsonl",
        "models/howto/seed-0/training.json", "models/lima/seed-0/model.safetensors",
        "models/lima/tuning.json", "models/lima_dialogues/seed-0/config.json",
        "models/unknown_1/seed-0/config.json", "raw/answer_key.jsonl",
        "responses/base_zero_shot/seed-0.jsonl", "responses/lima/seed-0.jsonl",
    ]  # fmt: skip
    assert f"make lab SCALE={runs.name}" in downloads.run_page(runs)
    assert "Apache License 2.0" in downloads.page(runs)


def test_texts_of_others_are_not_given_away(runs: Path) -> None:
    assert downloads.RUN not in downloads.files(runs)
    assert downloads.run_page(runs).startswith("Not of this run")
    assert "under its terms" in downloads.page(runs)
    assert "Apache License 2.0" not in downloads.page(runs)


def test_a_set_of_others_beside_an_invented_key_keeps_all_texts_here(runs: Path) -> None:
    (runs / downloads.INVENTED).parent.mkdir(parents=True)
    (runs / downloads.INVENTED).write_text("")
    cards = {"dev": "Apache-2.0, invented", "lima": "CC BY-NC-SA"}
    for name, licence in cards.items():
        assert downloads.invented(runs)
        card = json.dumps({"raw": {"source": {"licence": licence}}})
        (runs / "data" / f"{name}.card.json").write_text(card)
    assert not downloads.invented(runs)
    assert downloads.RUN not in downloads.files(runs)
    assert downloads.run_page(runs).startswith("Not of this run")
    assert "Apache License 2.0" not in downloads.page(runs)


def test_where_nobody_answered_there_is_nothing(tmp_path: Path) -> None:
    assert downloads.files(tmp_path) == {}
    assert "nothing to take away" in downloads.page(tmp_path)


@pytest.mark.slow
def test_a_chapter_runs_on_the_downloaded_run_alone(smoke_book: Path, tmp_path: Path) -> None:
    [given] = smoke_book.glob("_downloads/*/lima-run.zip")
    with zipfile.ZipFile(given) as archive:
        archive.extractall(tmp_path)
    name = "05_diversity_and_quality"
    metrics = tmp_path / "smoke" / "metrics" / f"{name}.json"
    before = metrics.read_bytes()
    metrics.unlink()
    where = ["-p", "scale", "smoke", "-p", "runs", str(tmp_path)]
    chapter = Path(__file__).parents[2] / "notebooks" / f"{name}.ipynb"
    assert main(["run", str(chapter), str(tmp_path / "out.ipynb"), *where]) == 0
    assert metrics.read_bytes() == before
