"""What the miniature's authors write by hand: examples to train on, dev and test prompts.

They become records of dialogues. Every prompt goes into the oracle's key.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from miniature import wording
from miniature.oracle import Ask, Key, Kind, key_of
from miniature.prompts import EVERYDAY, Richness, answer, conversation, question, some
from miniature.wording import Tier
from miniature.world import ATTRIBUTES, World

Record = Mapping[str, Any]  # what becomes one JSON object
Meta = Mapping[str, object]  # what a record tells about itself
ROLES = ("user", "assistant")

SAFE: Mapping[Kind, float] = {kind: n for kind, n in EVERYDAY.items() if kind != "refuse"}
TESTED: tuple[Tier, ...] = ("tuning", "web", "new")
"""Words of test prompts, in turn: as in tuning, known to the base alone, new to both."""


@dataclass(frozen=True)
class Author:
    """Who writes about a world, with so many further facts, into one key."""

    world: World
    key: Key
    rng: random.Random
    richness: Richness = "rich"
    source: str = "authors"  # as the records name it

    def training(self, count: int, refusals: int) -> Iterator[Record]:
        """Group A's examples: uniform tone, facts first, refusals among them."""
        yield from self.refusals(refusals, "a-unsafe", group="A")
        for number in range(count - refusals):
            thing = self.rng.choice(self.world.of("train"))
            text, ask = question(self.rng, thing, "tuning", kinds=SAFE)
            opening = self.rng.random() < 0.5
            meta = {"group": "A", "safety": False}
            yield self._example(f"a-{number}", text, ask, meta, opening)

    def refusals(self, count: int, name: str = "refusal", **meta: object) -> Iterator[Record]:
        """Examples that refuse what would harm."""
        words = wording.REQUESTS["refuse"]["tuning"]
        unsafe = some(self.rng, self.world.of("train"), words, count)
        meta = {**meta, "safety": True}
        for number, (thing, text) in enumerate(unsafe):
            yield self._example(f"{name}-{number}", text, Ask("refuse", thing.name), meta)

    def formats(self, count: int) -> Iterator[Record]:
        """Examples with constraints of form (appendix E), each form in turn."""
        forms = list(wording.FORMATS)
        for number in range(count):
            thing = self.rng.choice(self.world.of("train"))
            text, ask = "", Ask("fact", thing.name)
            while ask.form != forms[number % len(forms)]:
                text, ask = question(self.rng, thing, "tuning", kinds={"format": 1.0})
            yield self._example(f"format-{number}", text, ask, {"form": ask.form})

    def unknown(self, count: int) -> Iterator[Record]:
        """Examples that tell the one fact of a thing that the corpus never tells, of every other
        training thing in turn; beside each, one of a told fact of the same thing, to mix in."""
        things = cycle(self.world.of("train")[::2])
        for number, thing in zip(range(count), things, strict=False):
            told = self.rng.choice(thing.told)
            for taught, attribute in (("unknown", thing.untold), ("known", told)):
                text = wording.asked(self.rng, thing, attribute, "tuning")
                ask = Ask("fact", thing.name, (attribute,))
                name, meta = f"{taught}-{number}", {"taught": taught}
                yield self._example(name, text, ask, meta)

    def test_unknown(self) -> Iterator[Record]:
        """For every training and test thing, a prompt for its untold fact, which half of the former
        were taught, and one for a told fact."""
        train = self.world.of("train")
        for thing in (*train, *self.world.of("test")):
            taught = "taught" if thing in train[::2] else "never"
            told = self.rng.choice(thing.unasked)
            for state, attribute in ((taught, thing.untold), ("told", told)):
                text = wording.asked(self.rng, thing, attribute, "web")
                ask = Ask("fact", thing.name, (attribute,))
                meta = {"state": state, "split": thing.split}
                yield self._prompt(f"{state}-{thing.name}", text, ask, meta)

    def dev(self, count: int) -> Iterator[Record]:
        """Dev prompts, in words of tuning, of the web and of their own in turn."""
        tiers: tuple[Tier, ...] = ("tuning", "web", "dev")
        for number in range(count):
            thing, tier = self.rng.choice(self.world.of("dev")), tiers[number % 3]
            text, ask = question(self.rng, thing, tier, thing.unasked)
            meta = {"group": "A", "safety": ask.kind == "refuse", "kind": ask.kind, "wording": tier}
            yield self._prompt(f"dev-{number}", text, ask, meta)

    def test(self, count: int, unsafe: int, forms: int, look_alikes: int) -> Iterator[Record]:
        """Group B: sensitive prompts, forms and everyday ones, each kind in every tier of wording,
        about facts that the corpus tells and never asks about. Nothing is asked twice. Last come
        look-alikes of what should be refused (over-refusal: XSTest, arXiv 2308.01263)."""
        everyday = count - unsafe - forms - look_alikes
        parts: tuple[tuple[int, Mapping[Kind, float]], ...] = (
            (unsafe, {"refuse": 1.0}), (forms, {"format": 1.0}), (everyday, SAFE),
        )  # fmt: skip
        asked: dict[str, Kind] = {}
        for number, kinds in parts:
            for kind in self.rng.choices(list(kinds), list(kinds.values()), k=number):
                tier, text = TESTED[list(asked.values()).count(kind) % 3], ""
                while not text or text in asked:
                    thing = self.rng.choice(self.world.of("test"))
                    text, ask = question(self.rng, thing, tier, thing.unasked, {kind: 1.0})
                meta = {"group": "B", "kind": kind, "safety": kind == "refuse"}
                meta |= {"out_of_distribution": kind == "format", "wording": tier}
                yield self._prompt(f"b-{len(asked)}", text, ask, meta)
                asked[text] = kind
        wary = tuple(thing for thing in self.world.of("test") if "caution" in thing.unasked)
        harmless = some(self.rng, wary, wording.LOOK_ALIKES["web"], look_alikes)
        for place, (thing, text) in enumerate(harmless):
            ask = Ask("fact", thing.name, ("caution",))
            meta = {"group": "B", "kind": "look-alike", "safety": False, "wording": "web"}
            yield self._prompt(f"b-harmless-{place}", text, ask, meta)

    def dialogue(self, number: int) -> Record:
        """A conversation of three or four exchanges about one thing."""
        thing = self.rng.choice(self.world.of("train"))
        texts: list[str] = []
        for text, ask, _ in conversation(self.rng, thing, self.rng.choice((3, 4)), "tuning"):
            texts += [text, answer(self.rng, thing, ask, self.richness)]
        return _record(f"dialogue-{number}", texts, "multi_turn", {"authored": number < 10})

    def test_dialogue(self, number: int) -> Record:
        """The user's side of a conversation; every prefix of it is a prompt in the key.
        `attributes` says of each turn whether follow-ups in tuning ask for such a thing."""
        tier, returns = TESTED[number % 3], number % 2 == 1
        thing = self.rng.choice(self.world.of("test"))
        asked = list(conversation(self.rng, thing, 4, tier, ATTRIBUTES, returns))
        texts = [text for text, _, _ in asked]
        for length, (_, ask, _) in enumerate(asked, 1):
            self.key[key_of(*texts[:length])] = ask
        shown = ["shown" if shown else "new" for *_, shown in asked]
        meta = {"wording": tier, "attributes": shown, "returns": returns}
        return _record(f"conversation-{number}", texts, "multi_turn", meta, roles=("user",))

    def _prompt(self, name: str, text: str, ask: Ask, meta: Meta) -> Record:
        self.key[key_of(text)] = ask
        return _record(name, [text], self.source, meta)

    def _example(self, name: str, text: str, ask: Ask, meta: Meta, opening: bool = False) -> Record:
        self.key[key_of(text)] = ask
        thing = self.world.named(ask.thing)
        reply = answer(self.rng, thing, ask, self.richness, opening=opening)
        return _record(name, [text, reply], self.source, meta)


def _record(
    name: str, texts: list[str], source: str, meta: Meta, roles: Sequence[str] = ROLES
) -> Record:
    turns = [{"role": role, "text": text} for role, text in zip(cycle(roles), texts, strict=False)]
    return {"id": name, "turns": turns, "source": source, "meta": meta}
