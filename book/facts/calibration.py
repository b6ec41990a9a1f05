"""Figures of real files that the invented world's sources are calibrated to.

    python book/facts/calibration.py --data ../shared/data

writes calibration.json beside this file: figures and digests of the files read, no text of theirs.
With `--world second_edition_world runs/miniature` a run's files are measured the same way; worlds
measured before are kept. What the tables show of it, and what is to be set, is in calibration.csv.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy import stats

from limalib import records, statistics
from limalib.data.duplicates import near_duplicates
from limalib.data.instructions import read_alpaca, read_release
from limalib.data.markup import clean_html
from limalib.data.stackexchange import Post, Thread, dumps, rows, threads
from limalib.data.text import first_person, refers_to_others
from limalib.records import Dialogue, single_turn
from limalib.running.provenance import file_digest
from limalib.settings import ROOT
from limalib.statistics import Estimate, to_record

FACTS = Path(__file__).with_suffix(".json")
ROWS = FACTS.with_suffix(".csv")
FILES = (
    "lima/train.jsonl",
    "alpaca/alpaca_3111.json",
    "stackexchange/beer.stackexchange.com/Posts.xml",
)
DRAWN, DRAWS, WORDS_READ = 500, 40, 2_000
UNITS = {"same_start": "share", "types": "share"}
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\n+")
FORMS = {
    "list": re.compile(r"^[ \t]*(?:[-*•]|\d+[.)])\s+\S.*\n+[ \t]*(?:[-*•]|\d+[.)])\s+\S", re.M),
    "heading": re.compile(r"^(?:#{1,6}\s*\S|\*\*[^*\n]+\*\*:?\s*$)", re.M),
    "code": re.compile(r"```|`[^`\n]+`"),
}
KINDS = {  # the first that fits
    "story": re.compile(r"\b(?:story|tale|poem|haiku|limerick|sonnet|song|lyrics)\b", re.I),
    "how": re.compile(r"\A\W*how\b", re.I),
    "question": re.compile(r"\A\W*(?:wh\w+|is|are|do|does|did|can|could|should)\b|\?\s*\Z", re.I),
    "request": re.compile(""),
}
NO_OUTPUT = re.compile(
    r"\A\W*(?:no ?output|n/?a\b|sorry\b|this (?:task|instruction)\b[^.]{0,40}cannot)", re.I
)
RUN_IN = re.compile(r"^\W*(?:\d+\.\s*)?(?:instruction|input|output):|^\W*no ?input\b", re.I | re.M)
REFUSAL = re.compile(
    r"\bi(?: am|['’]m) (?:very |so )?sorry,? but|\bi (?:have to|must) warn you\b"
    r"|\bi (?:cannot|can['’]t|will not|won['’]t|am not able to)\b|\bi(?:['’]d| would) rather not\b"
    r"|\b(?:it|that|this|doing so)(?:['’]s| is) (?:\w+ )?"
    r"(?:illegal|unethical|dangerous|wrong|immoral|harmful|a crime)\b"
    r"|\b(?:is|as) (?:generally )?considered (?:as )?racis[mt]\b",
    re.I,
)
NO_INPUT = re.compile(r"\A\W*(?:no ?input|none|n/?a)\W*\Z|http", re.I)
ENDED = re.compile(r"[.!?:;…][\"'”’)\]*_`]*\Z")

Figures = dict[str, dict[str, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of the published files")
    parser.add_argument("--world", nargs=2, metavar=("NAME", "RUN"), help="measure a run, too")
    options = parser.parse_args(arguments)
    try:
        worlds = json.loads(FACTS.read_text())["worlds"] if FACTS.is_file() else {}
        if options.world:
            worlds[options.world[0]] = world(*options.world)
        records.write_json(FACTS, facts(options.data, worlds))
    except (OSError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {FACTS}")
    return 0


def facts(data: Path, worlds: Mapping[str, Any]) -> dict[str, Any]:
    """What the page on calibration shows. Raises FileNotFoundError and ValueError."""
    lima, alpaca, posts = (data / name for name in FILES)
    metrics = measured(read_release(lima), alpaca, [posts], (1_200, 4_096))
    return {
        "source": "GAIR/lima, 3,111 rows of Stanford Alpaca, beer.stackexchange.com",
        "command": "python book/facts/calibration.py --data ../shared/data",
        "files": {name: file_digest(data / name) for name in FILES},
        "versions": {name: metadata.version(name) for name in ("numpy", "pandas", "scipy")},
        "metrics": metrics,
        "worlds": dict(worlds),
        "tables": tables(metrics, worlds),
    }


def world(name: str, run: str) -> dict[str, Any]:
    """The same figures of a run in the invented world, and the rates that its scale sets; lengths
    that pass are those of the scale `miniature`."""
    data, raw = Path(run) / "data", Path(run) / "raw"
    made = json.loads((Path(run) / "provenance" / "01_data.json").read_text(encoding="utf-8"))
    chains = records.read(data / "lima_dialogues.jsonl", Dialogue)
    chains = (dialogue for dialogue in chains if dialogue.source == "multi_turn")
    lima = [*records.read(data / "lima.jsonl", Dialogue), *chains]
    posts = [*dumps(raw / "stackexchange").values()]
    scale = ROOT / "scales" / f"{made['parameters']['scale']}.yml"
    rates = yaml.safe_load(scale.read_text(encoding="utf-8"))["world"]["sources"]
    return {
        "command": f"python book/facts/calibration.py --data ../shared/data --world {name} RUN",
        "commit": made["commit"],
        "metrics": measured(lima, raw / "teachers" / "terse_noisy.json", posts, (25, 600))
        | {f"set_{key}": {"value": value, "unit": "share"} for key, value in rates.items()},
    }


def measured(
    lima: Iterable[Dialogue], alpaca: Path, posts: Sequence[Path], fitting: tuple[int, int]
) -> Figures:
    """All figures, by name; `fitting` is the filter's range of lengths for the forum's answers."""
    sets: dict[str, list[Dialogue]] = {"lima": [], "alpaca": list(read_alpaca(alpaca))}
    for dialogue in lima:
        sets.setdefault(dialogue.meta.get("split") or dialogue.source, []).append(dialogue)
        if dialogue.source != "multi_turn":
            sets["lima"].append(dialogue)
    asked = {name: [d.prompt for d in sets[name]] for name in ("lima", "alpaca")}
    forum = [thread for path in posts for thread in threads(path)]
    asked["forum"] = [thread.question.title for thread in forum]
    frames = {name: examples(dialogues) for name, dialogues in sets.items()}
    rows = json.loads(alpaca.read_text(encoding="utf-8"))
    found = [
        *(described(frame, name) for name, frame in frames.items()),
        *(variety(prompts, name) for name, prompts in asked.items()),
        compared(frames),
        described(pd.DataFrame(map(faults, rows)), "alpaca"),
        {"alpaca_bytes": counted(round(alpaca.stat().st_size / len(rows)), len(rows))},
        turns(sets["multi_turn"], len(sets["lima"])),
        described(pd.DataFrame({"accepted": accepted(posts)}), "forum"),
        forum_figures(forum, fitting),
    ]
    return {name: record for figures in found for name, record in figures.items()}


def examples(dialogues: Iterable[Dialogue]) -> pd.DataFrame:
    """A row a dialogue: its first prompt and answer."""
    return pd.DataFrame(
        {
            "kind": "story" if dialogue.source == "writingprompts" else kind(dialogue.prompt),
            **lengths("prompt", dialogue.prompt),
            **lengths("answer", (answer := dialogue.turns[1].text)),
            **{f"with_{name}": bool(form.search(answer)) for name, form in FORMS.items()},
            "first_person": first_person(answer),
            "refuses": bool(REFUSAL.search(answer[:240])),
        }
        for dialogue in dialogues
    )


def kind(prompt: str) -> str:
    """What a prompt asks for, as far as its words show."""
    return next(name for name, form in KINDS.items() if form.search(prompt))


def lengths(what: str, text: str) -> dict[str, int]:
    """Characters, words and sentences; a line of a list is a sentence."""
    parts = SENTENCE_END.split(text)
    return {
        f"{what}_characters": len(text),
        f"{what}_words": len(words(text)),
        f"{what}_sentences": sum(bool(re.search(r"[^\W\d_]", part)) for part in parts),
    }


def words(text: str) -> list[str]:
    """Words in small letters, without punctuation."""
    return WORD.findall(text.casefold())


def turns(dialogues: Sequence[Dialogue], single: int) -> Figures:
    """How many turns users have in conversations, and what they say after the first."""
    texts = [t.text for d in dialogues for t in d.turns[2:] if t.role == "user"]
    times = Counter(" ".join(words(text)) for text in texts)
    later = pd.DataFrame(lengths("follow_up", text) for text in texts)
    later["follow_up_asks"] = [text.rstrip().endswith("?") for text in texts]
    later["follow_up_repeated"] = [times[" ".join(words(text))] > 1 for text in texts]
    number = pd.DataFrame({"user": [(len(d.turns) + 1) // 2 for d in dialogues]})
    several = {"turns_dialogues": counted(len(dialogues), single + len(dialogues))}
    return several | described(number, "turns") | described(later, "turns")


def faults(row: Mapping[str, str]) -> dict[str, bool]:
    """What of a row of Alpaca's a program can see to be wrong."""
    output, given = row["output"].strip(), row["input"].strip()
    return {
        "empty": not output,
        "no_output": bool(NO_OUTPUT.match(output)),
        "run_in": bool(RUN_IN.search(output)),
        "broken_off": breaks_off(output),
        "input": bool(given),
        "no_real_input": bool(NO_INPUT.search(given)),
    }


def breaks_off(text: str) -> bool:
    """Whether prose stops within a sentence; verse, lists and tables end as they like."""
    *before, last = [line.strip() for line in text.split("\n") if line.strip()] or [""]
    prose = len(words(last)) >= 8 and "|" not in last and not re.match(r"[-*•#]|\d+[.)]", last)
    return prose and not ENDED.search(last) and all(ENDED.search(line) for line in before)


def forum_figures(forum: Sequence[Thread], fitting: tuple[int, int]) -> Figures:
    """Scores, lengths and style; whole questions are drawn where answers are counted."""
    asked = pd.DataFrame({"answers": len(thread.answers)} for thread in forum)
    posts = pd.DataFrame(
        {"question": f"{t.exchange}/{t.question.id}", **answer(post, fitting)}
        for t in forum
        for post in t.answers
    )
    best = posts.drop_duplicates("question")  # a thread's answers come highest score first
    return {
        **described(asked, "forum"),
        **described(posts, "forum", list(posts["question"])),
        **described(best, "forum_best"),
        **{
            f"forum_score_with_{name}": rounded(statistics.spearman(posts["score"], posts[name]))
            for name in ("characters", "first_person", "refers")
        },
    }


def accepted(posts: Sequence[Path]) -> list[bool]:
    """Whether each question has an accepted answer, which `threads` does not tell."""
    every = (row for path in posts for row in rows(path, Counter()))
    return ["AcceptedAnswerId" in row for row in every if row["PostTypeId"] == "1"]


def answer(post: Post, fitting: tuple[int, int]) -> dict[str, Any]:
    """An answer on the forum, as the filters see it."""
    text = clean_html(post.body)
    style = {"first_person": first_person(text), "refers": refers_to_others(text)}
    passing = fitting[0] <= len(text) <= fitting[1] and not any(style.values())
    return {
        "score": post.score,
        "characters": len(text),
        "score_10": post.score >= 10,
        "negative": post.score < 0,
        "short": len(text) < fitting[0],
        "links": "<a " in post.body,
        **style,
        "passing_style": passing,
        "passing": passing and post.score >= 10,
    }


def described(frame: pd.DataFrame, name: str, clusters: Sequence[str] = ()) -> Figures:
    """A share of each column of true and false, a median of each of numbers.

    A share's interval is Wilson's, or draws whole clusters where rows belong together.
    """
    found = {}
    for column, values in frame.select_dtypes(["bool", "number"]).items():
        if values.dtype != bool:
            found[f"{name}_{column}"] = middle(values.to_numpy())
            continue
        estimate = (
            statistics.bootstrap_share([values], clusters=clusters)
            if clusters
            else statistics.wilson(int(values.sum()), len(values))
        )
        found[f"{name}_{column}"] = rounded(estimate, "share")
    return found


def middle(values: np.ndarray) -> dict[str, Any]:
    """The median, its interval from order statistics (Conover 1999, section 3.2), quartiles."""
    ordered, n = np.sort(values), len(values)
    rank = max(1, int(stats.binom.ppf(0.025, n, 0.5)))
    estimate = Estimate(float(np.median(ordered)), ordered[rank - 1], ordered[n - rank], n)
    quartiles = np.percentile(ordered, (25, 75)).round(1).tolist()
    return rounded(estimate, "median") | {"quartiles": quartiles}


def compared(frames: Mapping[str, pd.DataFrame]) -> Figures:
    """How many times as long answers are as Alpaca's at the median: of each source, in sentences;
    of LIMA's examples of one turn in other units and by kind of prompt, too."""
    alpaca, lima = frames["alpaca"], frames["lima"]
    found = {name: (frame, alpaca, "sentences") for name, frame in frames.items()}
    found |= {f"lima_{unit}": (lima, alpaca, unit) for unit in ("characters", "words")}
    for name in KINDS:
        sides = [side[side["kind"] == name] for side in (lima, alpaca)]
        if all(map(len, sides)):
            found[f"lima_{name}"] = (*sides, "sentences")
    return {f"ratio_{name}": ratio(*sides) for name, sides in found.items() if name != "alpaca"}


def ratio(ours: pd.DataFrame, theirs: pd.DataFrame, unit: str) -> dict[str, Any]:
    """Median length of the answers of one side over the other's, with a bootstrap of both."""
    rng = np.random.default_rng(0)
    sides = [side[f"answer_{unit}"].to_numpy() for side in (ours, theirs)]
    drawn = [np.median(rng.choice(side, (1_000, len(side))), axis=1) for side in sides]
    low, high = np.percentile(drawn[0] / drawn[1], (2.5, 97.5))
    value = float(np.median(sides[0]) / np.median(sides[1]))
    return rounded(Estimate(value, low, high, len(ours)), "ratio")


def variety(prompts: Sequence[str], name: str) -> Figures:
    """How alike prompts are: means over draws of as many, and where 95% of the draws lie."""
    rng, size = np.random.default_rng(0), min(DRAWN, len(prompts))
    draws = [rng.choice(len(prompts), size, replace=False) for _ in range(DRAWS)]
    drawn = pd.DataFrame(alike([prompts[n] for n in draw]) for draw in draws)
    low, high = drawn.quantile(0.025), drawn.quantile(0.975)
    found = {
        f"{name}_{key}": rounded(Estimate(mean, low[key], high[key], size), UNITS.get(key, ""))
        for key, mean in drawn.mean().items()
    }
    whole = [single_turn(str(n), prompt) for n, prompt in enumerate(prompts)]
    return found | {f"{name}_near_duplicates": counted(len(near_duplicates(whole)), len(whole))}


def alike(prompts: Sequence[str]) -> dict[str, float]:
    """Mean TF-IDF cosine with the most similar other prompt, share whose first two words another
    has, entropy of first words in bits, share of different words among the first so many."""
    tokens = [words(prompt) for prompt in prompts]
    rows = np.repeat(np.arange(len(tokens)), [len(each) for each in tokens])
    every = [word for each in tokens for word in each]
    counts = pd.crosstab(rows, np.array(every)).to_numpy()
    weights = np.log1p(counts) * np.log(len(tokens) / (counts > 0).sum(axis=0))
    weights /= np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-12)
    cosines = weights @ weights.T - 2 * np.eye(len(weights))
    starts = Counter(tuple(each[:2]) for each in tokens)
    return {
        "nearest": float(cosines.max(axis=1).mean()),
        "same_start": sum(n for n in starts.values() if n > 1) / len(tokens),
        "entropy": float(stats.entropy([*Counter(t[0] for t in tokens if t).values()], base=2)),
        "types": len(set(every[:WORDS_READ])) / len(every[:WORDS_READ]),
    }


def rounded(estimate: Estimate, unit: str = "") -> dict[str, Any]:
    """A record of four decimals: other versions of a library differ beyond them."""
    record = to_record(estimate, unit)
    return {name: round(x, 4) if isinstance(x, float) else x for name, x in record.items()}


def counted(value: int, n: int) -> dict[str, Any]:
    """A record of a number that is no estimate."""
    return {"value": value, "n": n, "unit": "count"}


def tables(real: Figures, worlds: Mapping[str, Any]) -> dict[str, list[list[str]]]:
    """The page's tables by name, a row a figure: real files, each world, and what is to be set."""
    head = ["", "real files", "n", *(name.replace("_", " ") for name in worlds), "to be set"]
    found: dict[str, list[list[str]]] = {}
    for row in pd.read_csv(ROWS, dtype=str).itertuples():
        cells = [shown(of["metrics"].get(row.figure)) for of in worlds.values()]
        n = f"{real[row.figure]['n']:,}" if row.figure in real else "—"
        cells = [shown(real.get(row.figure), True), n, *cells]
        found.setdefault(row.table, [head]).append([row.label, *cells, row.setting])
    return found


def shown(record: Mapping[str, Any] | None, interval: bool = False) -> str:
    """A figure as text; the quartiles of a median stand in parentheses."""
    if record is None:
        return "—"
    forms = {"share": "{:.1%}", "median": "{:,.0f}", "count": "{:,}"}
    form = forms.get(record.get("unit", ""), "{:.2f}").format
    text = form(record["value"])
    if "quartiles" in record:
        text += f" ({'–'.join(map(form, record['quartiles']))})"
    if not interval or "low" not in record:
        return text
    low, high = (form(record[key]).removesuffix("%") for key in ("low", "high"))
    return f"{text} [{low},\N{NO-BREAK SPACE}{high}]"


if __name__ == "__main__":
    sys.exit(main())
