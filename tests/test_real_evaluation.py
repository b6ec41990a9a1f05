"""Real answers to LIMA's real test prompts, through the chapters, with a language model and people
as judges: what the figures show is what can be counted directly."""

import io
import json
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
import yaml

from limalib import records, scales
from limalib.__main__ import main
from limalib.chapter import Chapter
from limalib.data.recipes import test as released_prompts
from limalib.judging import people, verdicts
from limalib.judging.recorded import answers
from limalib.places import Places
from limalib.records import (
    Dialogue,
    Grade,
    Label,
    Response,
    Turn,
    Verdict,
    single_turn,
)
from limalib.settings import ROOT
from limalib.training.log import read_log
from tests.misbehaving import Behaviour, Misbehaving, reply, serving

pytestmark = pytest.mark.slow

SYSTEMS = {"GPT-4": "gpt-4-0314", "GPT-3.5": "gpt-3.5-turbo-0301", "Vicuna": "vicuna-7b-v1.5"}
PART = re.compile(r"\n===== \w{16} (.+) =====\n")


def longer(text: str, other: str) -> str:
    """The fake judge's rule: the longer answer, but the one shown first when they are about as
    long."""
    near = min(len(text), len(other)) >= 0.9 * max(len(text), len(other))
    return "A" if near or len(text) > len(other) else "B"


def score(text: str) -> int:
    return min(6, 1 + len(text) // 400)


def label(text: str) -> str:
    return "fail" if len(text) < 200 else "pass" if len(text) < 1500 else "excellent"


def judge(body: dict[str, Any], before: int) -> Behaviour:
    asked = body["messages"][0]["content"]
    fields = body["response_format"]["json_schema"]["schema"]["properties"]
    _, *parts = PART.split(asked)
    shown = [
        text
        for name, text in zip(parts[::2], parts[1::2], strict=True)
        if name.startswith("answer")
    ]
    rules: dict[str, Callable[..., str | int]] = {"verdict": longer, "score": score, "label": label}
    (field,) = rules.keys() & fields.keys()
    said = {field: rules[field](*shown)}
    return reply(json.dumps({"explanation": "by length", **said}))


@dataclass(frozen=True)
class Trial:
    """A scale in a folder of its own, its judge, and its prompts."""

    path: Path
    runs: Path
    server: Misbehaving
    prompts: list[Dialogue]
    answers: dict[str, list[str]]

    @property
    def scale(self) -> scales.Scale:
        return scales.load(self.path)

    @property
    def places(self) -> Places:
        return self.scale.places(self.runs)

    def run(self, chapter: str, **given: object) -> "Ran":
        output = self.runs / "out" / f"{chapter}.ipynb"
        values = {"scale": self.path, "runs": self.runs, **given}
        pairs = [text for name, value in values.items() for text in ("-p", name, str(value))]
        assert main(["run", str(ROOT / "notebooks" / f"{chapter}.ipynb"), str(output), *pairs]) == 0
        return Ran(nbformat.read(output, 4))

    def metrics(self, name: str) -> dict[str, Any]:
        return json.loads(self.places.metrics(name).read_text())


@dataclass(frozen=True)
class Ran:
    notebook: Any

    @property
    def printed(self) -> str:
        outputs = [o for cell in self.notebook.cells for o in cell.get("outputs", [])]
        return "".join(o.text for o in outputs if o.get("name") == "stdout")

    def table(self, *columns: str) -> pd.DataFrame:
        outputs = [o for cell in self.notebook.cells for o in cell.get("outputs", [])]
        shown = [o.data["text/html"] for o in outputs if "text/html" in o.get("data", {})]
        tables = [pd.read_html(io.StringIO(html), index_col=0)[0] for html in shown]
        (found,) = [table for table in tables if {*columns} <= {*table.columns}]
        return found


@pytest.fixture(scope="module")
def trial(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("trial")
    with serving(judge) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        recorded = {
            name: {"path": f"{shared_data}/baselines_on_lima_test/{model}.jsonl", "model": model}
            for name, model in SYSTEMS.items()
        }
        path = folder / "trial.yml"
        path.write_text(
            yaml.safe_dump(
                {
                    "description": "a trial",
                    "base_model": "miniature/base",
                    "seeds": [0],
                    "counts": {"ablation": 8, "quantity": [4]},
                    "training": {
                        "batch_examples": 4, "epochs": 2, "stop_after_epoch": 2,
                        "candidate_epochs": [1, 2], "max_tokens": 256, "learning_rate": 3e-4,
                    },
                    "sampling": {"max_new_tokens": 8},
                    "judge": ["model", "person"],
                    "judge_model": {
                        "server": {
                            "model": "fake", "base_url": server.url, "key_variable": None,
                            "price_in": 1.0, "price_out": 10.0,
                        }
                    },
                    "systems": recorded,
                },
                sort_keys=False,
            )
        )  # fmt: skip
        prompts = released_prompts(
            {"lima": shared_data / "lima"}, scales.load(path).counts, scales.load(path).rules
        ).dialogues
        runs = folder / "runs"
        records.write(scales.load(path).places(runs).data("test"), prompts)
        texts = {
            name: [r.text for r in answers(given["path"], prompts, name, given["model"])]
            for name, given in recorded.items()
        }
        yield Trial(path, runs, server, prompts, texts)


def decided(ours: list[str], theirs: list[str]) -> list[int]:
    """What the judge's two verdicts on each pair come to: a win that the other order does not
    contradict."""
    found = []
    for our, their in zip(ours, theirs, strict=True):
        votes = [1 if longer(our, their) == "A" else -1, -1 if longer(their, our) == "A" else 1]
        found.append((sum(votes) > 0) - (sum(votes) < 0))
    return found


@pytest.fixture(scope="module")
def said(trial: Trial) -> list[Verdict]:
    """People's verdicts on 50 pairs: Ann likes the first system, Bob ties every other time."""
    found = []
    for number, prompt in enumerate(trial.prompts[:50]):
        for name, preferred in (("Ann", "first"), ("Bob", "tie" if number % 2 else "first")):
            found.append(
                Verdict(prompt.id, "GPT-4", "Vicuna", preferred, "first", name)  # type: ignore[arg-type]
            )
    people.append(trial.places.judgments("person", "verdicts"), found)
    return found


@pytest.fixture(scope="module")
def here(trial: Trial, said: list[Verdict]) -> Chapter:
    """A chapter in which any two systems are compared, whatever is trained."""
    return Chapter("trial", trial.scale, str(trial.runs))


class TestPreference:
    def test_systems_that_are_not_there_are_named_and_the_rest_is_shown(
        self, here: Chapter, capsys: pytest.CaptureFixture[str]
    ) -> None:
        answers = here.answers("lima", "alpaca", *here.scale.systems)
        printed = capsys.readouterr().out
        assert "LIMA is left out" in printed
        assert "Alpaca's recipe is left out" in printed
        counts = {system: len(found) for system, found in answers.items()}
        assert counts == {"GPT-4": 300, "GPT-3.5": 300, "Vicuna": 300}

    @pytest.mark.parametrize("rival", ["GPT-3.5", "Vicuna"])
    def test_shares_are_those_counted_directly(
        self, trial: Trial, here: Chapter, rival: str
    ) -> None:
        wanted = decided(trial.answers["GPT-4"], trial.answers[rival])
        found = here.compare("GPT-4", rival)
        assert found.shares is not None
        for share, vote in zip(found.shares, (1, 0, -1), strict=False):
            assert share.value == pytest.approx(wanted.count(vote) / 300)
            assert share.low < share.value < share.high
        biases = {name: each and each.value for name, each in found.biases.items()}
        assert biases["flipped"] == pytest.approx(wanted.count(0) / 300)
        assert biases["longer_wins"] == 1
        assert found.unreadable == 0

    def test_people_stand_beside_the_model(self, trial: Trial, here: Chapter) -> None:
        found = here.compare("GPT-4", "Vicuna", "person")
        assert found.shares is not None
        assert found.shares.win.value == pytest.approx(0.75)  # Ann's 50 and Bob's 25 of 100
        together = [*found.decisions, *here.compare("GPT-4", "Vicuna", "model").decisions]
        agreed = {(a.first, a.second): a for a in verdicts.agreement(together)}
        assert agreed["Ann", "Bob"].items == 50
        # A point where both say GPT-4, half a point where Bob says tie: 25 + 25/2 of 50.
        assert agreed["Ann", "Bob"].tie_discounted.value == pytest.approx(0.75)
        model = decided(trial.answers["GPT-4"][:50], trial.answers["Vicuna"][:50])
        points = statistics.mean({1: 1.0, 0: 0.5, -1: 0.0}[vote] for vote in model)
        shown = agreed["Ann", "fake-2024-01-01"].tie_discounted
        assert shown.value == pytest.approx(points)

    def test_what_it_cost_is_said(self, trial: Trial, said: object) -> None:
        # 2 rivals x 300 prompts x 2 orders, which are one where both gave the same answer.
        fresh = Chapter("trial", trial.scale, str(trial.runs.with_name("fresh")))
        records.write(fresh.places.data("test"), trial.prompts)
        ours = trial.answers["GPT-4"]
        rivals = [trial.answers[name] for name in ("GPT-3.5", "Vicuna")]
        same = sum(our == their for rival in rivals for our, their in zip(ours, rival, strict=True))
        for name in ("GPT-3.5", "Vicuna"):
            fresh.compare("GPT-4", name)
        fresh.grades("GPT-4", "GPT-3.5", "Vicuna")
        # With a score for each of 900 answers; each reply is 100 tokens read and 10 written.
        asked = 1200 - same + 900
        bill = f"{asked:,} requests, {100 * asked:,} tokens read, {10 * asked:,} written, 0.42 USD"
        assert str(fresh.spent()) == bill

    def test_a_second_run_asks_nothing_again(self, trial: Trial, here: Chapter) -> None:
        before, asked = here.compare("GPT-4", "Vicuna"), len(trial.server.bodies)
        again = Chapter("trial", trial.scale, str(trial.runs)).compare("GPT-4", "Vicuna")
        assert len(trial.server.bodies) == asked
        assert again.shares == before.shares


def test_labels_of_a_recorded_system(trial: Trial) -> None:
    trial.run("04_absolute_quality", system="Vicuna")
    metrics = trial.metrics("04_absolute_quality_Vicuna")
    labels = [label(text) for text in trial.answers["Vicuna"]]
    assert metrics["absolute_excellent"]["value"] == labels.count("excellent") / 300
    assert metrics["absolute_pass"]["value"] == 1 - labels.count("fail") / 300
    assert metrics["safety"]["value"] is None  # the release does not mark its sensitive prompts
    assert metrics["correct"]["value"] is None


# --- with systems trained here --------------------------------------------------------------------


ARMS = ("lima", "lima_dialogues", "filtered", "unfiltered", "howto", "quantity_4")


@pytest.fixture(scope="module")
def trained(trial: Trial) -> Trial:
    """Tiny runs of each arm: the first by the training notebook, its checkpoint chosen by the
    model judge; answers to ten test prompts."""
    places = trial.places
    pool = [single_turn(f"x{i}", f"What is {i}?", f"It is the number {i}.") for i in range(8)]
    for arm in ARMS:
        records.write(places.data(arm), pool[: 4 if arm == "quantity_4" else 8])
    turns = (Turn("user", "Who are you?"), Turn("user", "And what do you do?"))
    conversations = [Dialogue(f"c{i}", turns, "multi_turn") for i in range(3)]
    records.write(places.data("test_dialogues"), conversations)
    records.write(places.data("dev"), [Dialogue("dev-0", (Turn("user", "What is 3?"),))])
    records.write(places.data("held_out"), [])
    trial.run("02_training", training_set="lima", max_prompts=10)
    done, seed = places.model("lima", 0), 0
    answered = places.responses("lima", 0).read_text()
    for number, arm in enumerate(ARMS[1:], 1):  # the same weights, other answers
        places.model(arm, 0).parent.mkdir()
        places.model(arm, 0).symlink_to(done)
        texts = {p.id: "word " * 90 * number for p in trial.prompts[:10]}
        found = [Response(p, arm, seed, 0, text, True, 3) for p, text in texts.items()]
        records.write(places.responses(arm, 0), found)
    assert answered
    return trial


class TestTrained:
    def test_the_model_chooses_the_checkpoint(self, trained: Trial) -> None:
        log = read_log(trained.places.model("lima", 0))
        assert [epoch.metrics["quality"] for epoch in log.epochs] == [1, 1]  # short answers
        assert "correct" not in log.epochs[0].metrics
        rate = f"{log.settings.learning_rate:g}"
        kept = trained.places.judgments("model", f"replies/grades/dev/lima-seed-0-rate-{rate}")
        assert kept.is_file()

    def test_limas_figures_have_the_rivals_rows(self, trained: Trial) -> None:
        ran = trained.run("03_preference", bases="false", grade="false")
        assert "Alpaca's recipe is left out" in ran.printed
        assert "to ask, about: " in ran.printed
        metrics = trained.metrics("03_preference")
        assert metrics["GPT-4_lose"]["value"] == 1  # a few tokens against a real answer
        assert metrics["GPT-4_lose"]["n"] == 10
        assert metrics["alpaca_win"]["value"] is None

    def test_grades_of_the_arms(self, trained: Trial) -> None:
        trained.run("05_diversity_and_quality")
        metrics = trained.metrics("05_diversity_and_quality")
        assert (metrics["filtered_score"]["value"], metrics["unfiltered_score"]["value"]) == (3, 4)
        assert metrics["quality_score"]["value"] == -1
        assert metrics["quality"]["value"] is None  # this judge has no say on facts

    def test_grades_by_size(self, trained: Trial) -> None:
        trained.run("06_quantity")
        metrics = trained.metrics("06_quantity")
        scores = metrics["epochs_4_score"]["value"], metrics["epochs_8_score"]["value"]
        assert scores == (6, 3)
        assert metrics["plateau_epochs"]["value"] is None

    def test_conversations_are_judged_turn_by_turn_and_whole(self, trained: Trial) -> None:
        asked = len(trained.server.bodies)
        trained.run("07_multi_turn")
        bodies = [b["messages"][0]["content"] for b in trained.server.bodies[asked:]]
        later = [
            b for b in bodies if "(user)\n    And what do you do?" in b and "answer B" not in b
        ]
        assert later
        assert all("(user)\n    Who are you?\n\n(assistant)\n    " in body for body in later)
        whole = [body for body in bodies if "answer B" in body]
        assert all(body.count("(assistant)\n") == 4 for body in whole)
        metrics = trained.metrics("07_multi_turn")
        assert metrics["lima_fail"]["value"] == 1
        assert (
            metrics["better"]["value"] + metrics["worse"]["value"] + metrics["tied"]["value"] == 1
        )

    def test_people_first(self, trained: Trial) -> None:
        """What people have not graded yet is named and waits; then it is measured."""
        places = trained.places
        path = trained.path.parent / "people" / trained.path.name  # the same runs, another judge
        path.parent.mkdir()
        settings = yaml.safe_load(trained.path.read_text()) | {"judge": "person"}
        path.write_text(yaml.safe_dump(settings))

        def grade(system: str, prompt_ids: list[str], score: int) -> None:
            label: Label = "pass" if score > 3 else "fail"
            place = f"{system}/seed-0"
            found = [Grade(p, system, 0, 0, score, None, label, None) for p in prompt_ids]
            records.write(places.judgments("person", place), found)

        ran = trained.run("07_multi_turn", scale=path)
        assert "LIMA has no grades" in ran.printed
        assert trained.metrics("07_multi_turn")["better"]["value"] is None
        for system, score in (("lima", 2), ("lima_dialogues", 4)):
            answered = records.read(places.responses(f"dialogues/{system}", 0), Response)
            grade(f"dialogues/{system}", [answer.prompt_id for answer in answered], score)
        trained.run("07_multi_turn", scale=path)
        metrics = trained.metrics("07_multi_turn")
        assert (metrics["better"]["value"], metrics["lima_fail"]["value"]) == (1, 1)
        assert metrics["better"]["low"] < 1

        asked = [prompt.id for prompt in trained.prompts[:10]]
        for system, score in (("filtered", 5), ("unfiltered", 3), ("howto", 4), ("quantity_4", 2)):
            grade(system, asked, score)
        trained.run("05_diversity_and_quality", scale=path)
        assert trained.metrics("05_diversity_and_quality")["quality_score"]["value"] == 2
        trained.run("06_quantity", scale=path)
        assert trained.metrics("06_quantity")["epochs_4_score"]["value"] == 2
