"""Scales: one file each, refused where it is wrong."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limalib import scales
from limalib.judging.settings import ServerSettings
from limalib.settings import ROOT


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yml"
    path.write_text("description: tiny\nbase_model: org/model\nseeds: [3, 5]\n")
    return path


def test_the_scales_that_come_with_the_book() -> None:
    assert scales.known() == ["smoke", "miniature", "laptop", "gpu", "paper"]


@pytest.mark.parametrize("name", scales.known())
def test_every_scale_loads_and_has_limas_set(name: str) -> None:
    scale = scales.load(name)
    assert scale.name == name
    assert {"lima", "alpaca", "filtered", "unfiltered", "howto", "lima_dialogues"} <= set(
        scale.training_sets()
    )
    assert len(set(scale.training_sets())) == len(scale.training_sets())


@pytest.mark.parametrize("name", scales.known())
def test_every_setting_of_a_scale_says_why(name: str) -> None:
    text = (scales.FOLDER / f"{name}.yml").read_text()
    assert text.startswith("# ")
    for line in text.splitlines():
        if line.startswith(("seeds:", "learning_rates:", "samples:", "judge:", "base_model:")):
            assert "#" in line, line


def test_limas_counts_are_the_papers_where_the_time_allows() -> None:
    counts = scales.load("miniature").counts
    sources = ("stackexchange_stem", "stackexchange_other", "wikihow", "writingprompts")
    sizes = [getattr(counts, name) for name in (*sources, "superni", "authors")]
    assert sizes == [200, 200, 200, 150, 50, 200]
    assert sum(sizes) == 1000


def test_a_scale_can_be_named_by_its_path(tiny: Path) -> None:
    scale = scales.load(tiny)
    assert (scale.name, scale.seeds, scale.base()) == ("tiny", (3, 5), "org/model")
    assert scales.load(str(tiny), seeds=(1,)).seeds == (1,)


def test_files_of_a_scale(tiny: Path) -> None:
    scale = scales.load(tiny)
    places = scale.places("/runs")
    assert places.data("lima") == Path("/runs/tiny/data/lima.jsonl")
    assert places.model("lima", 3) == Path("/runs/tiny/models/lima/seed-3")
    assert places.responses("lima", 3) == Path("/runs/tiny/responses/lima/seed-3.jsonl")
    assert places.metrics("06_quantity") == Path("/runs/tiny/metrics/06_quantity.json")
    assert places.tuning("lima") == Path("/runs/tiny/models/lima/tuning.json")
    assert places.judgments("model", "x") == Path("/runs/tiny/judgments/model/x.jsonl")


def which(scale: scales.Scale) -> list[str]:
    return [*scale.sets()["which"].values()]


def test_selectors_have_sets_where_an_oracle_knows_and_the_scale_wants_them(tiny: Path) -> None:
    names = ["which_random", "which_longest", "which_diverse", "which_likeliest", "which_best"]
    assert which(scales.load("miniature")) == [*names, "which_best_many"]
    assert {*names} < {*scales.load("smoke").training_sets()}
    assert which(scales.load("paper")) == []
    assert which(scales.load("smoke").with_sources(teachers=str(tiny))) == []
    asked = {"counts": {"which": True}, "raw": {"teachers": "teachers"}}
    assert which(scales.load(tiny, **asked)) == []
    assert len(which(scales.load(tiny, **asked, world={}))) == 6


def test_a_relative_folder_is_taken_from_the_repository(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert scales.load(tiny).places("runs").folder == ROOT / "runs" / "tiny"


def test_a_scale_cannot_be_changed(tiny: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        scales.load(tiny).seeds = (1,)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed: 3", "speed: unknown setting"),
        ("counts: {lima: 3}", "counts.lima: unknown setting"),
        ("counts: {alpaca: many}", "counts.alpaca: Input should be a valid integer"),
        ("seeds: [1, 1]", "seeds repeat"),
        ("seeds: []", "seeds: "),
        ("training: {learning_rate: -1}", "training.learning_rate: Input should be greater than 0"),
        ("judge: a friend", "judge.0: Input should be"),
        ("judge: [person, person]", "judge: one or several, each once"),
        ("judge: [model, person]", "a model judges, but judge_model does not say which"),
        (
            "world: {}\njudge: model\njudge_model: {server: {model: x}}",
            "judge: in an invented world the oracle comes first",
        ),
        ("systems: {lima: {path: x, model: y}}", "lima: a trained system has this name"),
        ("systems: {GPT-4: {path: x}}", "systems.GPT-4.recorded.model: Field required"),
        ("systems: {GPT-4: {model: x, key: y}}", "systems.GPT-4.server.key: unknown setting"),
        ("systems: {GPT-4: gpt-4}", "systems.GPT-4.server: Input should be"),
        ("systems: {../GPT-4: {model: x}}", "String should match pattern"),
        ("seeds: [1", "not YAML"),
        ("judge: !!python/object:os.system {}", "not YAML"),
        ("date: 2024-13-45", "not YAML: month must be in 1..12"),
        ("x: " + "[" * 1500, "not YAML"),
        ("seeds: [1]\nseeds: [2]", "not YAML: {'seeds'} twice"),
        ("training: {epochs: 3, epochs: 4}", "not YAML: {'epochs'} twice"),
        ("training_of: {limma: {epochs: 3}}", "has no training set 'limma'; it has lima, alpaca"),
        ("training_of: {lima: {epoch: 3}}", "training on 'lima': epoch: unknown setting"),
        ("training_of: {lima: {epochs: 3}}", "candidate_epochs 5 to 10: none is reached"),
        ("curves: [limma]", "has no training set 'limma'; it has lima, alpaca"),
        ("learning_rates: [.nan]", "learning_rates.0: Input should be a finite number"),
        ("learning_rates: [.inf]", "learning_rates.0: Input should be a finite number"),
        ("learning_rates: [-1.0e-5]", "learning_rates.0: Input should be greater than 0"),
        ("learning_rates: [1.0, 2.0]", "learning_rates: several need raw.authors, and no person"),
        (
            "learning_rates: [1.0, 2.0]\nraw: {authors: x}\njudge: person",
            "learning_rates: several need raw.authors, and no person as judge",
        ),
        ("training: {learning_rate: .nan}", "training.learning_rate: Input should be"),
        ("training: {weight_decay: .inf}", "training.weight_decay: Input should be a finite"),
        ("training: {betas: [0.9, 1]}", "training.betas.1: Input should be less than 1"),
        ("seeds: [-1]", "seeds.0: Input should be greater than or equal to 0"),
        ("world: {sources: {threads: -3}}", "world.sources.threads: Input should be greater"),
        ("world: {sources: {noise: .nan}}", "world.sources.noise: Input should be"),
        ("x: [sk-abcdefghijklmnopqrstuvwx", "line 3: looks like a secret"),
        ("# sk-abcdefghijklmnopqrstuvwx", "line 3: looks like a secret; set it in the env"),
        ("judge_model: {server: {model: hf_abcdefghijklmnopqrst}}", "line 3: looks like a secret"),
        (
            "systems: {it: {model: x, base_url: http://h/AIzaSyA-0123456789abcdefghijklmnopqrstu}}",
            "line 3: looks like a secret",
        ),
    ],
)
def test_wrong_settings_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.yml"
    path.write_text(f"description: wrong\nbase_model: org/model\n{text}\n")
    with pytest.raises(ValueError, match=r"wrong\.yml(: |, line)") as caught:
        scales.load(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "abcdefghijklmnopqrst" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\xfa", b"\x00", b"a: \x1b", b'a: "\xed\xa0\x80"'])
def test_bytes_that_are_no_text_are_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wrong.yml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^\S*wrong\.yml: not YAML: [^\n]+$"):
        scales.load(path)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_scale_is_one_line_or_a_scale(data: st.DataObject) -> None:
    whole = (scales.FOLDER / "smoke.yml").read_bytes()
    begin = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(begin, min(begin + 20, len(whole))))
    damaged = whole[:begin] + data.draw(st.binary(max_size=20)) + whole[end:]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.yml"
        path.write_bytes(damaged)
        try:
            assert scales.load(path).name == "damaged"
        except ValueError as error:
            assert "damaged.yml" in str(error)  # noqa: PT017  either will do
            assert "\n" not in str(error)  # noqa: PT017


def test_one_judge_or_several(tiny: Path) -> None:
    assert scales.load(tiny).judge == ("oracle",)
    server = {"server": {"model": "gpt-4o"}}
    assert scales.load(tiny, judge="person").judge == ("person",)
    both = scales.load(tiny, judge=["model", "person"], judge_model=server)
    assert both.judge == ("model", "person")
    assert both.places("/runs").judgments("model", "x") == Path(
        "/runs/tiny/judgments/model/x.jsonl"
    )


def test_a_system_is_recorded_or_behind_a_server(tiny: Path) -> None:
    systems = {
        "GPT-4": {"path": "gpt-4.jsonl", "model": "gpt-4-0314"},
        "Claude": {"model": "claude", "base_url": "https://example.org/v1"},
    }
    found = scales.load(tiny, systems=systems)
    recorded, server = found.systems.values()
    assert isinstance(recorded, scales.RecordedAnswers)
    assert found.places("/runs").given(recorded.path) == Path("/runs/tiny/raw/gpt-4.jsonl")
    assert isinstance(server, ServerSettings)


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.yml").write_text("- 1\n")
    with pytest.raises(ValueError, match="a scale is a mapping of settings, not list"):
        scales.load(tmp_path / "list.yml")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("huge", "unknown scale 'huge'; known: smoke, miniature, laptop, gpu, paper"),
        ("none/such.yml", r"unknown scale 'none/such\.yml'; known: smoke, miniature"),
    ],
)
def test_an_unknown_scale_lists_the_known_ones(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scales.load(name)


def test_an_arm_that_was_tuned_before_takes_its_rate_and_others_try_the_grid(
    tmp_path: Path,
) -> None:
    record = tmp_path / "tuning.json"
    record.write_text('{"arms": {"lima": {"learning_rate": 0.002, "dev": {}}}}')
    tuned = scales.load("smoke", tuned=str(record), learning_rates=(0.001, 0.01))
    assert tuned.rates("lima") == (0.002,)
    assert tuned.rates("alpaca") == (0.001, 0.01)
    assert tuned.tuning(tmp_path, "lima") == {"learning_rate": 0.002, "dev": {}}
    assert tuned.tuning(tmp_path, "alpaca") is None
