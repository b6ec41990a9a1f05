"""Facts about real systems: counts from published files that are not part of this project.

    python book/facts/real_systems.py --data ../shared/data

writes real_systems.json beside this file. It holds numbers, names of systems and of data sets, and
digests of the files read; no text of theirs. The files:

    alpaca_eval/<system>/model_outputs.json, annotations.json; alpaca_eval/leaderboard.csv
    baselines_on_lima_test/<system>.jsonl, and LIMA's own lima/test.jsonl
"""

import argparse
import csv
import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from limalib import statistics
from limalib.judging import bias, recorded, verdicts
from limalib.judging.verdicts import Decision
from limalib.records import Dialogue, Preferred, Response, Verdict, single_turn, write_json
from limalib.running.provenance import file_digest
from limalib.statistics import Estimate, to_record

FACTS = Path(__file__).with_suffix(".json")

BASELINE = "text_davinci_003"
JUDGED = ("gpt4", "claude", "vicuna-13b", "alpaca-7b")
ALPACA_EVAL = "tatsu-lab/alpaca_eval, Apache-2.0"
ANSWERED = ("gpt-4-0314", "gpt-3.5-turbo-0301", "vicuna-7b-v1.5")
JUST_EVAL = "Re-Align/just-eval, MIT; prompts of GAIR/lima"
# Rows of LIMA's test file, which names no sources (see `instructions.read_release`).
SOURCES = {"Paper authors (Group B)": range(230), "Pushshift r/AskReddit": range(230, 300)}
LIST_ITEM = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of the published files")
    parser.add_argument("--out", type=Path, default=FACTS, help="where to write the facts")
    options = parser.parse_args(arguments)
    try:
        write_json(options.out, facts(options.data))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {options.out}")
    return 0


def facts(data: Path) -> dict[str, Any]:
    """Everything the page on real systems rests on. Raises FileNotFoundError and ValueError."""
    return {
        "alpaca_eval": alpaca_eval(data / "alpaca_eval"),
        "lima_test": lima_test(data / "baselines_on_lima_test", data / "lima" / "test.jsonl"),
    }


def alpaca_eval(folder: Path) -> dict[str, Any]:
    """What GPT-4 said of four systems against one baseline, and how long the answers are.

    Lengths are of the answers that were judged: most of those in the baseline's own file are
    others.
    """
    prompts = alpaca_eval_prompts(folder / BASELINE / "model_outputs.json")
    judged = {
        name: alpaca_eval_annotations(folder / name / "annotations.json", prompts)
        for name in JUDGED
    }
    decided = {
        name: verdicts.combine(row.verdict for row in rows)[0] for name, rows in judged.items()
    }
    (judge,) = {d.judge for found in decided.values() for d in found}
    published = _leaderboard(folder / "leaderboard.csv")
    (baseline,) = {
        tuple(sorted((row.verdict.prompt_id, row.second_answer) for row in rows))
        for rows in judged.values()
    }  # the same answers, whoever they are compared with
    own = folder / BASELINE / "model_outputs.json"
    filed = recorded.answers(own, prompts, BASELINE, BASELINE)
    return {
        "source": ALPACA_EVAL,
        "files": _digests(folder.glob("*/*.json"), folder),
        "judge": judge,
        "baseline": BASELINE,
        "baseline_mean_length": _mean(len(text) for _, text in baseline),
        "baseline_answers_as_filed": len(set(baseline) & {(r.prompt_id, r.text) for r in filed}),
        "systems": {
            name: {
                **_counts(found),
                "by_data_set": _by_data_set(found, prompts),
                **_length_facts(found, judged[name]),
                "published": published[name],
            }
            for name, found in decided.items()
        },
        "pairs": [
            {"first": first, "second": second, "table": _table(decided[first], decided[second])}
            for first, second in itertools.combinations(JUDGED, 2)
        ],
    }


def lima_test(folder: Path, test: Path) -> dict[str, Any]:
    """How long three systems' answers to LIMA's 300 test prompts are, by source of the prompt."""
    lines = test.read_text(encoding="utf-8").splitlines()
    prompts = [
        single_turn(f"test-{row:04}", json.loads(line)["conversations"][0])
        for row, line in enumerate(lines)
    ]
    found = {}
    for name in ANSWERED:
        answers = recorded.answers(folder / f"{name}.jsonl", prompts, name, name)
        if len(answers) < len(prompts):
            raise ValueError(f"{folder}, {name}: answers {len(answers)} of {len(prompts)} prompts")
        found[name] = {
            source: _answer_facts([answers[row] for row in rows])
            for source, rows in SOURCES.items()
        }
    files = [test, *(folder / f"{name}.jsonl" for name in ANSWERED)]
    return {"source": JUST_EVAL, "files": _digests(files, folder.parent), "systems": found}


class Judged(NamedTuple):
    """A verdict and the two answers that it is on."""

    verdict: Verdict
    first_answer: str
    second_answer: str


def alpaca_eval_prompts(path: Path) -> list[Dialogue]:
    """The instructions of AlpacaEval's model_outputs.json as prompts, their data set as source.

    Ids are `alpaca_eval-0000` and so on, in the file's order. Raises as `recorded.answers` does.
    """
    return [
        single_turn(f"alpaca_eval-{row:04}", r["instruction"], source=str(r.get("dataset", "")))
        for row, r in enumerate(recorded.read_objects(path, ("instruction",)))
    ]


def alpaca_eval_annotations(path: Path, prompts: Sequence[Dialogue]) -> list[Judged]:
    """The verdicts of AlpacaEval's annotations.json, first the model and second the baseline.

    A `preference` of 2 is for the model (output_2), 1 for the baseline (output_1), 1.5 or 0 for
    neither; null, a reply that could not be read, becomes a verdict for nobody. The file puts the
    baseline first whatever the annotator saw, so the order is unknown (None). Measure answers here
    rather than in model_outputs.json: a baseline's answers there need not be those that were
    judged. Raises FileNotFoundError, and ValueError naming file and row for any other preference,
    or for an instruction that is not among `prompts`.
    """
    known = recorded.ids_by_text(prompts)
    names = ("instruction", "generator_1", "generator_2", "annotator", "output_1", "output_2")
    found = []
    for row, record in enumerate(recorded.read_objects(path, names)):
        instruction, baseline, model, annotator, theirs, ours = (record[name] for name in names)
        prompt_id = known.get(recorded.normalised(instruction))
        if prompt_id is None:
            shown = instruction if len(instruction) <= 60 else instruction[:57] + "..."
            raise ValueError(f"{path}, row {row}: no prompt has its text, {shown!r}")
        preferred = _preferred(record.get("preference", ""), f"{path}, row {row}")
        verdict = Verdict(prompt_id, model, baseline, preferred, None, annotator)
        found.append(Judged(verdict, ours, theirs))
    return found


def _preferred(preference: Any, where: str) -> Preferred | None:
    if preference is None:
        return None
    labels: dict[Any, Preferred] = {2: "first", 1: "second", 1.5: "tie", 0: "tie"}
    if type(preference) not in (int, float) or preference not in labels:
        raise ValueError(f"{where}: preference {preference!r} is none of 2, 1, 1.5, 0 and null")
    return labels[preference]


def _counts(found: Iterable[Decision]) -> dict[str, int]:
    counted = Counter(d.net for d in found)
    return {"win": counted[1], "tie": counted[0], "lose": counted[-1]}


def _by_data_set(
    found: Sequence[Decision], prompts: Sequence[Dialogue]
) -> dict[str, dict[str, int]]:
    source = {prompt.id: prompt.source for prompt in prompts}
    sets: dict[str, list[Decision]] = {}
    for decision in found:
        sets.setdefault(source[decision.prompt_id], []).append(decision)
    return {name: _counts(decisions) for name, decisions in sorted(sets.items())}


def _length_facts(found: Sequence[Decision], rows: Sequence[Judged]) -> dict[str, Any]:
    """Lengths in characters, of the answers that verdicts could be read on."""
    texts = {row.verdict.prompt_id: row for row in rows}
    ours = [len(texts[d.prompt_id].first_answer) for d in found]
    theirs = [len(texts[d.prompt_id].second_answer) for d in found]
    outcomes = [d.net for d in found]
    longer_by = [mine - other for mine, other in zip(ours, theirs, strict=True)]
    signs = [o * d for o, d in zip(outcomes, longer_by, strict=True)]
    return {
        "mean_length": _mean(ours),
        "longer_answers": sum(difference > 0 for difference in longer_by),
        "won_by_longer": sum(sign > 0 for sign in signs),
        "won_by_shorter": sum(sign < 0 for sign in signs),
        "length_controlled": _rounded(bias.length_controlled_win_rate(outcomes, longer_by)),
    }


def _table(first: Sequence[Decision], second: Sequence[Decision]) -> list[list[int]]:
    """Prompts by both systems' outcomes against the baseline: rows win, tie, lose of the first."""
    theirs = {d.prompt_id: d.net for d in second}
    both = Counter((d.net, theirs[d.prompt_id]) for d in first if d.prompt_id in theirs)
    return [[both[row, column] for column in (1, 0, -1)] for row in (1, 0, -1)]


def _answer_facts(answers: Sequence[Response]) -> dict[str, Any]:
    words = np.array([len(answer.text.split()) for answer in answers])
    return {
        "answers": len(answers),
        "words": _rounded(statistics.bootstrap_mean(words)),
        "median_words": float(np.median(words)),
        "shortest": int(words.min()),
        "longest": int(words.max()),
        "with_list": sum(len(LIST_ITEM.findall(answer.text)) > 1 for answer in answers),
    }


def _leaderboard(path: Path) -> dict[str, dict[str, float]]:
    wanted = ("win_rate", "standard_error", "length_controlled_winrate")
    with path.open(encoding="utf-8", newline="") as file:
        return {
            row[""]: {name: float(row[name]) for name in wanted} for row in csv.DictReader(file)
        }


def _digests(paths: Iterable[Path], folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in sorted(paths)}


def _mean(values: Iterable[float]) -> float:
    return round(float(np.mean(list(values))), 1)


def _rounded(estimate: Estimate) -> dict[str, Any]:
    """A record of six decimals: fits of other versions of a library differ beyond them."""
    record = to_record(estimate, "")
    del record["unit"]
    return {name: round(x, 6) if isinstance(x, float) else x for name, x in record.items()}


if __name__ == "__main__":
    sys.exit(main())
