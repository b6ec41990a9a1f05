"""What the training sets' own sources are worth, by the judge that grades the models.

A model can only be as good as the answers that it learns from: before two models are compared,
their teachers are.
"""

from limalib import statistics
from limalib.chapter import Chapter
from limalib.judging import measures, oracle
from limalib.judging.measures import UNITS
from limalib.records import Grade
from limalib.statistics import Estimate


def graded(here: Chapter) -> dict[str, list[Grade]]:
    """Grades of the sources' own answers to the test prompts, by name; none where sources are not
    invented, or somebody else than the oracle judges."""
    world = here.scale.world
    if world is None or here.scale.judge[0] != "oracle":
        return {}
    judge, key, found = here.oracle(), here.places.given("answer_key.jsonl"), {}
    for name, richness, errors in (
        ("teacher_lima", world.sources.lima_richness, 0.0),
        ("teacher_alpaca", "terse", world.sources.alpaca_noise),
        ("teacher_mended", "terse", 0.0),
        ("teacher_erring", "rich", world.sources.alpaca_noise),
    ):
        answers = oracle.teacher(key, world.seed, here.prompts, richness, errors)
        found[name] = oracle.grade_answers(judge, here.prompts, answers)
    return found


def own(here: Chapter, training_set: str) -> dict[str, Estimate]:
    """What a training set's own answers are worth; nothing where the oracle does not judge."""
    if here.scale.judge[0] != "oracle":
        return {}
    found = oracle.grade_examples(here.oracle(), here.set(training_set))
    read = {value: [measures.read(grade, value) for grade in found] for value in UNITS}
    return {value: statistics.mean_interval_t(each) for value, each in read.items()}


def contents(here: Chapter, *sets: str) -> dict[str, dict[str, float]]:
    """What training sets that share Alpaca's prompts hold, by set: the share of answers with all
    facts right, of those that say more than the terse answer in Alpaca's recipe, and of those that
    are right and tell further facts; mean characters of an answer; distinct things asked about."""
    judge = here.oracle()
    terse = {example.id: example.turns[-1].text for example in here.set("alpaca")}
    found = {}
    for name in sets:
        examples = here.set(name)
        graded = oracle.grade_examples(judge, examples)
        texts = {example.id: example.turns[-1].text for example in examples}
        found[name] = {
            "facts": sum(bool(grade.facts) for grade in graded) / len(graded),
            "rich": sum(text != terse[which] for which, text in texts.items()) / len(texts),
            "right_and_rich": sum(grade.content == 4 for grade in graded) / len(graded),
            "characters": sum(map(len, texts.values())) / len(texts),
            "things": len({*(here.things(examples) or ())}),
        }
    return found
