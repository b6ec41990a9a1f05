"""What the page "Ask the models" holds: a run's small models as scripts, and questions to ask.

A page that is opened as a file may load a script from beside it and read nothing else. So a model's
script is its folder: the three JSON files as they are, and the weights' file in base64.
"""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

from limalib import names, scales
from limalib.records import Dialogue, read
from miniature import world
from miniature.prompts import RARE

LARGEST = 2_900_000  # bytes of weights: under 4 MB in base64
FILES = ("config", "tokenizer", "tokenizer_config")
# What the oracle in the page, which knows values, cannot say of a kind of prompt.
APART = {
    "prepare": "Steps are not looked at here: compare them with what is true, below.",
    "refuse": "This should be refused; whether it is, is not looked at here.",
}
# The architecture and the tokenizer that ask_model.js knows.
LLAMA = {"model_type": "llama", "hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}


def files(scale: scales.Scale, runs: str | Path) -> dict[str, bytes]:
    """Path under the source folder to content: a script for each model, one with the truth where a
    world is known, beside all that could be said instead, and `ask.json`, which says what there is
    to ask, or why nothing is."""
    places, first = scale.places(runs), scale.seeds[0]
    folders = {
        "base": Path(scale.base()),
        "alpaca": places.model("alpaca", first),
        "lima": places.model("lima", first),
    }
    if reasons := [reason for folder in folders.values() if (reason := unfit(folder))]:
        return {"ask.json": _json({"missing": reasons[0]})}
    models = [{"name": "base", "title": "Base", "told": "not tuned", "layout": scale.base_layout}]
    for name in ("alpaca", "lima"):
        examples = sum(1 for _ in read(places.data(name), Dialogue))
        told = f"tuned on {examples:,} examples"
        models.append({"name": name, "title": names.NAMES[name], "told": told})
    prompts = list(read(places.data("test"), Dialogue))
    settings = {
        "models": models,
        "temperature": scale.sampling.temperature,
        "top_p": scale.sampling.top_p,
        "limit": scale.sampling.max_new_tokens,
        "examples": one_of_each_kind(prompts)[:6],
        "questions": [prompt.prompt for prompt in prompts],
        "apart": apart(prompts),
    }
    scripts = {name: script(name, folder) for name, folder in folders.items()}
    scripts["truth"] = b"window.askTruth = %b;\nwindow.askValues = %b;\n" % (
        _json(truth(scale)).strip(),
        _json(world.VALUES).strip(),
    )
    found = {f"book/_static/ask/{name}.js": content for name, content in scripts.items()}
    return {"ask.json": _json(settings), **found}


def unfit(folder: Path) -> str:
    """Why a page cannot run the model of a folder; nothing when it can."""
    weights = folder / "model.safetensors"
    if not weights.is_file():
        return "this scale's models are not at hand"
    if weights.stat().st_size > LARGEST:
        return "this scale's models are too large for a page"
    config, tokenizer, _ = (_read(folder, name) for name in FILES)
    plain = config.get("rope_parameters", {}).get("rope_type") == "default"
    known = LLAMA.items() <= config.items() and tokenizer["model"]["type"] == "BPE"
    if plain and known and BYTE_LEVEL.items() <= (tokenizer["pre_tokenizer"] or {}).items():
        return ""
    return "this scale's models are of a kind that the page does not know"


def script(name: str, folder: Path) -> bytes:
    """A script that defines a model as the page's `askModels` has it."""
    content: dict[str, Any] = {file: _read(folder, file) for file in FILES}
    content["weights"] = b64encode((folder / "model.safetensors").read_bytes()).decode()
    return f"(window.askModels ??= {{}}).{name} = ".encode() + _json(content).strip() + b";\n"


def truth(scale: scales.Scale) -> dict[str, Any]:
    """What is so in the scale's world, by the name of a thing: its kind, its facts, each with how
    well the base can know it, and its preparation. Nothing where no world was invented."""
    things = world.build(scale.world.seed).things if scale.world else ()
    found = {}
    for thing in things:
        told = {
            name: "never told" if not often else "seldom told" if often <= RARE else ""
            for name, often in thing.exposure.items()
        }
        facts = [[name, value, told[name]] for name, value in thing.facts.items()]
        preparation = ["preparation", ", ".join(thing.steps), told["steps"]]
        found[thing.name] = {"kind": thing.kind, "facts": [*facts, preparation]}
    return found


def one_of_each_kind(prompts: list[Dialogue]) -> list[str]:
    """The shortest prompt of every kind, in words that the base has read, the shortest first."""
    shortest: dict[Any, str] = {}
    for prompt in sorted(prompts, key=lambda prompt: len(prompt.prompt)):
        if prompt.meta.get("wording") != "new":
            shortest.setdefault(prompt.meta.get("kind"), prompt.prompt)
    return list(shortest.values())


def apart(prompts: list[Dialogue]) -> dict[str, str]:
    """What is said in place of a verdict, by prompt, where the oracle in the page has none."""
    return {p.prompt: APART[kind] for p in prompts if (kind := p.meta.get("kind")) in APART}


def _read(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def _json(content: Any) -> bytes:
    return (json.dumps(content, separators=(",", ":"), ensure_ascii=False) + "\n").encode()
