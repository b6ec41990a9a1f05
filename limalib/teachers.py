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
