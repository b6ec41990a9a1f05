"""The laptop's book, in small: the scale as it is committed, with a cache in the hub's place, which
the hub's own client reads as it would what it fetched."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import warm
import yaml
from pyarrow import parquet

from limalib import records, scales
from limalib.records import Dialogue, Turn, single_turn
from limalib.settings import ROOT
from tests.misbehaving import serving
from tests.test_real_evaluation import judge

pytestmark = pytest.mark.slow

COMMIT = "0" * 40
SMALL: dict[str, dict[str, Any]] = {
    "counts": {"alpaca": 12},
    "training": {
        "batch_examples": 4, "epochs": 2, "stop_after_epoch": 2, "candidate_epochs": [1, 2],
        "max_tokens": 128,
    },
    "sampling": {"max_new_tokens": 8},
}  # fmt: skip
OLD = {"absolute_excellent": {"value": 0.123, "low": 0.1, "high": 0.2, "n": 9, "unit": "share"}}
SETS = {"lima": 5, "test": 5, "alpaca": 12, "filtered": 0, "dev": 0}
RAN = {
    *("01_data", "lima-seed-0", "alpaca-seed-0", "03_preference", "09_hypothesis"),
    *("10_judge_by_hand", "11_answers", "12_real_systems", "19_checkable", "20_less_pretraining"),
}
JUDGED = {"04_absolute_quality", "07_multi_turn", "lima_dialogues-seed-0"}


@dataclass(frozen=True)
class Laptop:
    """A book at the laptop's scale, made once."""

    folder: Path
    said: str

    @property
    def runs(self) -> Path:
        return self.folder / "runs" / "laptop"

    def python(self, *arguments: str) -> str:
        """What Python prints, offline, with what was fetched."""
        own = {"HF_HOME": str(self.folder / "hub"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *arguments]
        told: dict[str, Any] = {"capture_output": True, "text": True, "cwd": ROOT}
        environment = os.environ | own
        environment.pop(warm.KERNEL, None)  # whose libraries were read with another HF_HOME
        result = subprocess.run(command, env=environment, **told)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def page(self, name: str) -> str:
        """What a page says, without its marks."""
        html = self.folder / "build" / "laptop" / "_build" / "html" / f"{name}.html"
        body = html.read_text(encoding="utf-8").partition("<article")[2].partition("</article")[0]
        return " ".join(re.sub(r"<[^>]+>", "", body).split())


def on_hub(home: Path, kind: str, name: str) -> Path:
    """The folder of what the hub's client fetched of a repository."""
    folder = home / "hub" / f"{kind}--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    return folder / "snapshots" / COMMIT


def released(path: Path, *conversations: list[str]) -> None:
    rows = ({"conversations": each, "source": ""} for each in conversations)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def built(folder: Path, talks: Sequence[list[str]] = (), **changes: Any) -> Laptop:
    """The book of the committed scale, cut down and with the changes; LIMA's dialogues are `talks`,
    and their users hold the test conversations."""
    settings = yaml.safe_load((scales.FOLDER / "laptop.yml").read_text()) | {"seeds": [0]}
    settings |= {name: settings[name] | small for name, small in SMALL.items()} | changes
    if talks:
        said = [[Turn("user", text) for text in talk[::2]] for talk in talks]
        asked = [Dialogue(f"talk-{i}", tuple(turns), "ours") for i, turns in enumerate(said)]
        records.write(folder / "talks.jsonl", asked)
        settings["raw"]["test_dialogues"] = str(folder / "talks.jsonl")
    (folder / "laptop.yml").write_text(yaml.safe_dump(settings, sort_keys=False))
    home = folder / "hub"
    lima = on_hub(home, "datasets", settings["raw"]["lima"].removeprefix("hub:"))
    asks = [f"How do I mend a {name}?" for name in ("cup", "door", "boat", "clock", "kite")]
    released(lima / "train.jsonl", *([each, f"{each} With glue."] for each in asks), *talks)
    released(lima / "test.jsonl", *([each.replace("mend", "paint")] for each in asks))
    alpaca = on_hub(home, "datasets", settings["raw"]["alpaca"].removeprefix("hub:")) / "data"
    alpaca.mkdir()
    rows = [{"instruction": f"Say {n}.", "input": "", "output": f"{n}."} for n in range(20)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), alpaca / "train-00000-of-00001.parquet")
    base = on_hub(home, "models", settings["base_model"])
    shutil.copytree(ROOT / "miniature" / "base", base, dirs_exist_ok=True)
    options = [f"--scale={folder}/laptop.yml", f"--runs={folder}/runs", f"--build={folder}/build"]
    made = Laptop(folder, "")
    records.write_json(made.runs / "metrics" / "04_absolute_quality.json", OLD)
    return replace(made, said=made.python("book/assemble.py", *options, "--cores=1"))


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    return built(tmp_path_factory.mktemp("laptop"))


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """The same with conversations and a model as the first judge, which likes longer answers."""
    talks = [
        ["Is it mended?", "Not yet.", "When?", "Soon."],
        ["Does it float?", "No.", "Oh.", "So."],
    ]
    with serving(judge) as server:
        model = {"model": "fake", "base_url": server.url, "key_variable": None}
        how = {"judge": ["model", "person"], "judge_model": {"server": model}}
        return built(tmp_path_factory.mktemp("judged"), talks, **how)


def test_what_needs_no_more_than_the_hub_was_run(laptop: Laptop) -> None:
    assert "[10/10] " in laptop.said  # two of them the training of LIMA's set and Alpaca's
    assert {path.stem for path in (laptop.runs / "provenance").rglob("*.json")} == RAN


def test_with_a_model_as_judge_its_chapters_run_and_what_it_cannot_know_is_not_measured(
    judged: Laptop,
) -> None:
    assert {path.stem for path in (judged.runs / "provenance").rglob("*.json")} == RAN | JUDGED
    page = judged.page("notebooks/03_preference")
    assert "In this run all facts are right in not measured of LIMA’s answers" in page
    metrics = json.loads((judged.runs / "metrics" / "03_preference.json").read_text())
    assert 1 <= metrics["lima_score"]["value"] <= 6
    assert metrics["alpaca_win_rate"]["n"] == 5
    talked = json.loads((judged.runs / "metrics" / "07_multi_turn.json").read_text())
    assert talked["turns"]["value"] == 4
    assert talked["lima_dialogues_fail"]["value"] == 1  # eight tokens are too few for this judge


def test_sets_are_those_of_the_hub(laptop: Laptop) -> None:
    cards = {n: json.loads((laptop.runs / f"data/{n}.card.json").read_text()) for n in SETS}
    assert {name: card["examples"] for name, card in cards.items()} == SETS
    for name in ("lima", "alpaca"):
        assert cards[name]["raw"][name]["sha256"]


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("00_pretraining", "an invented world (world)."),
        ("04_absolute_quality", "a model as the first judge (judge: model), or people's grades."),
        ("05_diversity_and_quality", "raw.stackexchange and "),
        ("07_multi_turn", "raw.test_dialogues."),
        ("08_perplexity", "raw.stackexchange."),
        ("17_tuning", "raw.authors and a model as the first judge"),
    ],
)
def test_a_chapter_that_was_not_run_says_what_it_needs(
    laptop: Laptop, name: str, needs: str
) -> None:
    page = laptop.page(f"notebooks/{name}")
    assert "This chapter was not run at this scale. It needs " in page
    assert needs.replace("'", "’") in page
    assert "What this chapter does." in page
    assert "Time to run" not in page
    assert f"left out: {name}, which needs " in laptop.said


def test_nobody_judged_and_answers_are_there_to_read(laptop: Laptop) -> None:
    page = laptop.page("notebooks/11_answers")
    assert "mean characters" in page
    assert "How do I paint a cup?" in page
    assert "0 of 5 judged" in laptop.page("notebooks/10_judge_by_hand")
    assert "not measured" in laptop.page("book/index")


def test_a_figure_of_another_time_stands_on_no_page(laptop: Laptop) -> None:
    assert "12.3%" not in laptop.page("book/index")


def test_tokens_that_tuning_moved_are_counted_without_a_world(laptop: Laptop) -> None:
    metrics = json.loads((laptop.runs / "metrics" / "09_hypothesis.json").read_text())
    assert 0 <= metrics["token_shift"]["value"] <= 1
    assert metrics["knowledge_kept"]["value"] is None


def test_what_a_program_can_check_is_asked_before_and_after_tuning(laptop: Laptop) -> None:
    metrics = json.loads((laptop.runs / "metrics" / "19_checkable.json").read_text())
    assert (metrics["demands"]["value"], metrics["facts"]["value"]) == (61, 284)
    for system in ("base_zero_shot", "base_few_shot", "lima", "alpaca"):
        assert 0 <= metrics[f"demands_{system}"]["value"] <= 1
        assert metrics[f"facts_{system}"]["n"] == 284
    told, kept, won = (metrics[f"facts_lima{which}"]["value"] for which in ("", "_kept", "_won"))
    assert told == pytest.approx(kept + won)
    page = laptop.page("notebooks/19_checkable")
    assert "What is the capital of Andorra?" in page
    assert "JSON that cannot be read" in page


def test_perplexity_is_shown_where_texts_are_held_out_and_nobody_judges(laptop: Laptop) -> None:
    held_out = [single_turn("h", "What is a kite?", "A toy that flies on a string.")]
    (laptop.runs / "data" / "held_out.card.json").unlink()
    records.write(laptop.runs / "data" / "held_out.jsonl", held_out)
    path = laptop.runs / "models" / "lima" / "seed-0" / "training.json"
    log = json.loads(path.read_text())
    for epoch in log["epochs"]:
        epoch["metrics"] = {"perplexity": 10.0 + epoch["epoch"]}
    path.write_text(json.dumps(log))
    given = ("-p", "scale", f"{laptop.folder}/laptop.yml", "-p", "runs", f"{laptop.folder}/runs")
    out = f"{laptop.folder}/08.ipynb"
    laptop.python("-m", "limalib", "run", "notebooks/08_perplexity.ipynb", out, *given)
    metrics = json.loads((laptop.runs / "metrics" / "08_perplexity.json").read_text())
    assert metrics["perplexity_rises"]["value"] == pytest.approx(12 / 11)
    assert metrics["perplexity_quality_holds"]["value"] is None
