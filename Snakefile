"""Runs every notebook of the book at one scale, in parallel where cores allow.

    snakemake --cores all --config scale=miniature runs=runs

`make book` calls it, with these and the folder of notebooks in a JSON file. The same Snakefile runs on
a cluster with an executor profile. A notebook runs again when its code, the modules it imports, the part of the scale that it
reads, or the files that it reads have changed; prose, comments and docstrings do not count.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, workflow.basedir)  # a cluster's snakemake need not have installed limalib
sys.path.insert(1, f"{workflow.basedir}/book")

import outline
from limalib import scales
from limalib.data import cards, recipes
from limalib.judging import model_judge
from limalib.running.provenance import code_digest, module_digest


def text(name, default):
    """A value of --config that is a text: Snakemake reads 08, 1e3 and 2024_01 as numbers there."""
    given = config.get(name, default)
    if not isinstance(given, str):
        raise ValueError(f"--config {name}: read as the number {given}; write '{name}=\"...\"'")
    return given


SCALE = text("scale", "miniature")
RUNS = text("runs", "runs")
NOTEBOOKS = scales.ROOT / text("notebooks", "notebooks")
scale = scales.load(SCALE)
FIRST = scale.seeds[0]

# Chapters without what they need are left out, and so are the sets that no other chapter reads.
CHAPTERS, LEFT_OUT, SETS = outline.of(scale, RUNS)
FEEDBACK = scale.feedback_arms() if "16_feedback" in CHAPTERS else {}
PROMPTS = [f"data/{name}.jsonl" for name in ("dev", "test", "test_dialogues", "test_unknown", "held_out")]
# What selectors choose from, which nobody trains on.
POOL = ["data/which_pool.jsonl"] if scale.sets()["which"] else []
# What the oracle knows of the prompts, written with the raw sources.
KEY = ["raw/answer_key.jsonl"] if scale.world else []

# Of tiny models two jobs of one thread beat one job of two; of others there is memory for one at a
# time, which has all cores of this machine. Paths are filled in when a job starts, so that moving the
# repository does not count as a change of code. Whatever people name is quoted (:q), since it goes
# through a shell.
THREADS = 1 if scale.world else workflow.resource_settings.cores or 1
PYTHON = sys.executable
RUN = (
    "OMP_NUM_THREADS={threads} TOKENIZERS_PARALLELISM=false {PYTHON:q} -m limalib run"
    " {NOTEBOOKS:q}/%s.ipynb {output.notebook:q} --provenance {output.provenance:q}"
    " --input {input.data:q} -p scale {SCALE:q} -p runs {RUNS:q}"
)
# Dumps to draw from, where they are given: one job each. The miniature's take a second together.
GIVEN = {} if scale.world else scale.raw_sources(RUNS)
EXCHANGES = recipes.exchange_dumps(GIVEN).dumps
# What of the scale decides what is found in a dump: other sizes of other sets do not.
CANDIDATES = str(recipes.candidates_wanted(scale.counts, scale.rules, seed=0))
# All files to draw from. The miniature's are made by the notebook that draws.
RAW = cards.raw_files(GIVEN.values())


workdir: str(scale.places(RUNS).folder)


wildcard_constraints:
    set=r"(?!feedback_)[a-z][a-z0-9_.]*",
    feedback="|".join(FEEDBACK) or "none",
    seed=r"\d+",


def code(name):
    """Digest of what decides a notebook's result apart from the files it reads."""
    return code_digest(NOTEBOOKS / f"{name}.ipynb")


def settings(*fields):
    """The part of the scale that a notebook reads, as text."""
    return scale.model_dump_json(include=set(fields))


def training_settings(wildcards):
    """What a training run reads of the scale: its own arm's settings, and nobody else's."""
    shared = settings("base_model", "world", "sampling", "samples", "dev_samples", "judge", "judge_model")
    own = scale.training_settings(wildcards.set).model_dump_json()
    return f"{shared} {own} {scale.rates(wildcards.set)} {scale.judged_epochs(wildcards.set)}"


def feedback_settings(wildcards):
    """What tuning with feedback reads of the scale."""
    shared = settings("world", "feedback", "sampling", "samples", "dev_samples", "training", "judge", "judge_model")
    return f"{shared} {scale.rates(FEEDBACK[wildcards.feedback])}"


def base_files():
    """The base model's files when it is a folder here; a hub id is named by the scale alone."""
    folder = Path(scale.base())
    return sorted(str(path) for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def chapter_data(wildcards):
    """Logs and answers of every run that a chapter compares, the prompts, and what judges read and
    people said."""
    facts = {"12_real_systems": "real_systems", "20_less_pretraining": "pretraining"}
    if wildcards.chapter in facts:  # what was found elsewhere, at every scale
        return [str(scales.ROOT / f"book/facts/{facts[wildcards.chapter]}.json")]
    runs = [
        path
        for name in CHAPTERS[wildcards.chapter]
        for seed in scale.seeds
        for path in (f"models/{name}/seed-{seed}/training.json", f"responses/{name}/seed-{seed}.jsonl")
    ]
    given = [scale.places(RUNS).given(s.path) for s in scale.systems.values() if hasattr(s, "path")]
    judged = [str(path) for path in (*given, *by_people(), *judge_prompts()) if path.is_file()]
    pool = [*POOL, "data/alpaca.jsonl"] if wildcards.chapter == "14_which_thousand" else []
    if wildcards.chapter == "16_feedback":
        pool = ["data/alpaca.jsonl"]
        runs += [f"models/{arm}/seed-{seed}/preferences.jsonl" for arm in FEEDBACK.values() for seed in scale.seeds]
    return runs + PROMPTS + pool + KEY + base_files() + judged


def by_people():
    """What people said: verdicts and grades."""
    return sorted(scale.places(RUNS).judgments("person", "verdicts").parent.rglob("*.jsonl"))


def judge_prompts():
    """What a language model is told when it judges."""
    return sorted(model_judge.FOLDER.glob("*.md")) if "model" in scale.judge else []


rule book:
    default_target: True
    input:
        expand(
            "notebooks/{chapter}.ipynb",
            chapter=[name for name in ("00_pretraining", "01_data", *CHAPTERS) if name not in LEFT_OUT],
        ),
        expand(
            "notebooks/02_training/{set}-seed-{seed}.ipynb",
            set=SETS,
            seed=scale.seeds,
        ),
        expand(
            "notebooks/15_feedback_training/{feedback}-seed-{seed}.ipynb",
            feedback=FEEDBACK,
            seed=scale.seeds,
        ),


# Outputs are declared `update`: they survive until the new ones are whole, and a failed run
# leaves the old ones as they were.
rule base:
    input:
        data=base_files(),
    output:
        notebook=update("notebooks/00_pretraining.ipynb"),
        provenance=update("provenance/00_pretraining.json"),
        metrics=update("metrics/00_pretraining.json"),
    params:
        code=code("00_pretraining"),
        settings=settings("base_model", "world"),
    priority: 100
    shell:
        RUN % "00_pretraining"


# Goes through one Stack Exchange dump, so that a cluster can do so with all at the same time.
rule exchange:
    input:
        dump=lambda wildcards: str(EXCHANGES[wildcards.exchange]),
    output:
        candidates=update("data/exchanges/{exchange}.jsonl"),
    params:
        code=module_digest("limalib.data.candidates"),
        settings=CANDIDATES,
    wildcard_constraints:
        exchange="|".join(map(re.escape, EXCHANGES)) or "none",
    resources:
        mem_mb=1000,
    priority: 200
    shell:
        "cd {scales.ROOT:q} && OMP_NUM_THREADS={threads} {PYTHON:q} -m limalib"
        " exchange {wildcards.exchange:q} --scale {SCALE:q} --runs {RUNS:q}"


rule data:
    input:
        data=base_files(),
        raw=list(map(str, RAW)),
        exchanges=expand("data/exchanges/{exchange}.jsonl", exchange=EXCHANGES),
    output:
        sets=update([f"data/{name}.jsonl" for name in scale.training_sets()] + PROMPTS + POOL + KEY),
        notebook=update("notebooks/01_data.ipynb"),
        provenance=update("provenance/01_data.json"),
        metrics=update("metrics/01_data.json"),
    params:
        code=code("01_data"),
        settings=settings("base_model", "world", "raw", "counts", "rules"),
    priority: 100
    shell:
        RUN % "01_data"


# An arm's first seed also tries the learning rates on the dev prompts; the others take its choice.
rule tune_and_train:
    input:
        data=["data/{set}.jsonl", *PROMPTS, *KEY, *base_files()],
    output:
        tuning=update("models/{set}/tuning.json"),
        log=update(f"models/{{set}}/seed-{FIRST}/training.json"),
        responses=update(f"responses/{{set}}/seed-{FIRST}.jsonl"),
        notebook=update(f"notebooks/02_training/{{set}}-seed-{FIRST}.ipynb"),
        provenance=update(f"provenance/02_training/{{set}}-seed-{FIRST}.json"),
    threads: THREADS
    params:
        code=code("02_training"),
        settings=training_settings,
    priority: 10
    shell:
        RUN % "02_training" + " -p replace true -p training_set {wildcards.set} -p seed {FIRST}"


rule train:
    input:
        data=["data/{set}.jsonl", *PROMPTS, *KEY, "models/{set}/tuning.json", *base_files()],
    output:
        log=update("models/{set}/seed-{seed}/training.json"),
        responses=update("responses/{set}/seed-{seed}.jsonl"),
        notebook=update("notebooks/02_training/{set}-seed-{seed}.ipynb"),
        provenance=update("provenance/02_training/{set}-seed-{seed}.json"),
    threads: THREADS
    params:
        code=code("02_training"),
        settings=training_settings,
    wildcard_constraints:
        seed="|".join(str(seed) for seed in scale.seeds[1:]) or "none",
    shell:
        RUN % "02_training" + " -p replace true -p training_set {wildcards.set} -p seed {wildcards.seed}"


# Alpaca's recipe of the same seed, tuned further. Who prefers is tuned as an arm is: by its first seed.
rule tune_with_feedback:
    input:
        data=[f"models/alpaca/seed-{FIRST}/training.json", "data/alpaca.jsonl", *PROMPTS, *KEY],
    output:
        tuning=update("models/feedback_{feedback}/tuning.json"),
        log=update(f"models/feedback_{{feedback}}/seed-{FIRST}/training.json"),
        pairs=update(f"models/feedback_{{feedback}}/seed-{FIRST}/preferences.jsonl"),
        responses=update(f"responses/feedback_{{feedback}}/seed-{FIRST}.jsonl"),
        notebook=update(f"notebooks/15_feedback_training/{{feedback}}-seed-{FIRST}.ipynb"),
        provenance=update(f"provenance/15_feedback_training/{{feedback}}-seed-{FIRST}.json"),
    params:
        code=code("15_feedback_training"),
        settings=feedback_settings,
    priority: 10
    shell:
        RUN % "15_feedback_training" + " -p replace true -p feedback {wildcards.feedback} -p seed {FIRST}"


rule feedback:
    input:
        data=[
            "models/alpaca/seed-{seed}/training.json",
            "models/feedback_{feedback}/tuning.json",
            *("data/alpaca.jsonl", *PROMPTS, *KEY),
        ],
    output:
        log=update("models/feedback_{feedback}/seed-{seed}/training.json"),
        pairs=update("models/feedback_{feedback}/seed-{seed}/preferences.jsonl"),
        responses=update("responses/feedback_{feedback}/seed-{seed}.jsonl"),
        notebook=update("notebooks/15_feedback_training/{feedback}-seed-{seed}.ipynb"),
        provenance=update("provenance/15_feedback_training/{feedback}-seed-{seed}.json"),
    params:
        code=code("15_feedback_training"),
        settings=feedback_settings,
    wildcard_constraints:
        seed="|".join(str(seed) for seed in scale.seeds[1:]) or "none",
    shell:
        RUN % "15_feedback_training" + " -p replace true -p feedback {wildcards.feedback} -p seed {wildcards.seed}"


rule chapter:
    input:
        data=chapter_data,
    output:
        notebook=update("notebooks/{chapter}.ipynb"),
        provenance=update("provenance/{chapter}.json"),
        metrics=update("metrics/{chapter}.json"),
    threads: THREADS
    params:
        code=lambda wildcards: code(wildcards.chapter),
        settings=lambda wildcards: scale.model_dump_json(exclude={"description"}),
    wildcard_constraints:
        chapter="|".join(CHAPTERS),
    shell:
        RUN % "{wildcards.chapter}"
