"""What the pages are: prose and code of committed notebooks, outputs of the executed ones, tables.

A page of prose may ask for tables that are written here as Markdown:

    ```{facts} released_filters:filters
    ```                             a table of book/facts/released_filters.json
    ```{provenance}
    ```                             what made every page
    ```{citation} book
    ```                             how to cite the book, or the `paper`
    ```{answered}
    ```                             one prompt, answered by the base, Alpaca's recipe and LIMA
    ```{downloads}
    ```                             all answers, grades and claims, as files to take away
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import answered
import downloads
import frames
import glossary
import yaml

from limalib.records import visible

ROOT = Path(__file__).resolve().parents[1]
READ_LINES = 6
"""Code of so many lines stands open on a page; longer code unfolds."""
NOT_TRIED = "Not tried in this run."  # what a cell prints that has nothing to tell, as in 03
WIDGET = "application/vnd.jupyter.widget-view+json"
ASKED = re.compile(
    r"^```\{(facts|provenance|answered|citation|downloads)\} ?(\S*)\n```$", re.MULTILINE
)

Tree = dict[str, bytes]
Notebook = dict[str, Any]
Record = dict[str, Any]


class BuildFailed(Exception):
    """A step of the build failed; the message says what to do."""


def tree(notebooks: Path, runs: Path, left_out: Mapping[str, str] = MappingProxyType({})) -> Tree:
    """Everything that the book is built from: path under the source folder to content. Chapters
    that are `left_out` (see outline.py) have a page that says what they need.

    Raises BuildFailed when a page of the table of contents was not executed, or a table is asked
    for that is not there.
    """
    found = {name: (ROOT / name).read_bytes() for name in ("_config.yml", "_toc.yml")}
    every = [Path(page).name for page in contents() if page.startswith("notebooks/")]
    chapters = [name for name in every if name not in left_out]
    for path in sorted((ROOT / "book").rglob("*")):
        name = path.relative_to(ROOT).as_posix()
        if path.suffix == ".md":
            found[name] = with_tables(path.read_text(encoding="utf-8"), name, chapters, runs)
        elif path.is_file() and (path.suffix != ".py" or path.parent.name == "_ext"):
            found[name] = path.read_bytes()
    for chapter in chapters:
        found[f"notebooks/{chapter}.ipynb"] = notebook_page(chapter, notebooks, runs)
    for chapter, needs in left_out.items():
        found[f"notebooks/{chapter}.ipynb"] = left_out_page(chapter, notebooks, needs)
    found["left_out.json"] = _json(dict(left_out))
    found |= downloads.files(runs)
    for kind in ("metrics", "provenance"):
        for path in sorted((runs / kind).rglob("*.json")):
            if path.stem not in left_out:  # of another time
                found[f"results/{path.relative_to(runs).as_posix()}"] = path.read_bytes()
    # Two lists that Sphinx cannot see change: which results there are, and what pages are called.
    found["results/index.json"] = _json([name for name in found if name.startswith("results/")])
    found["titles.json"] = _json({name: _title(name, data) for name, data in found.items()})
    return found


def contents(toc: Path = ROOT / "_toc.yml") -> list[str]:
    """The pages of a table of contents, in order, without their suffixes."""
    content = yaml.safe_load(toc.read_text(encoding="utf-8"))
    parts = content.get("parts", [content])
    return [content["root"], *(page["file"] for part in parts for page in part["chapters"])]


# --- notebooks -----------------------------------------------------------------------------------


def notebook_page(name: str, notebooks: Path, runs: Path) -> bytes:
    """A notebook as the book shows it, with a note of what made it at the end.

    The training notebook ran many times; its page is the run that `training_page` picks.
    """
    executed, record = runs / "notebooks" / f"{name}.ipynb", name
    if not executed.is_file() and (runs / "notebooks" / name).is_dir():
        executed = training_page(runs / "notebooks" / name)
        record = f"{name}/{executed.stem}"
    if not executed.is_file():
        raise BuildFailed(f"{executed}: not there, so the book lacks that page; run `make book`")
    made_by = runs / "provenance" / f"{record}.json"
    try:
        page = merged(read(notebooks / f"{name}.ipynb"), read(executed))
        made = details(read(made_by))
    except (LookupError, TypeError, AttributeError):  # JSON, but of something else
        problem = f"{executed} or {made_by}: not what a run writes; remove both, run `make book`"
        raise BuildFailed(problem) from None
    prose = [cell for cell in page["cells"] if cell["cell_type"] == "markdown"]
    texts = glossary.linked(["".join(cell["source"]) for cell in prose])
    for cell, source in zip(prose, texts, strict=True):
        cell["source"] = source
    note = f"::::{{dropdown}} What made this page\n{made}\n::::"
    cell = {"cell_type": "markdown", "id": "provenance", "metadata": {}, "source": note}
    return _json(page | {"cells": [*page["cells"], cell]})


def left_out_page(name: str, notebooks: Path, needs: str) -> bytes:
    """The page of a chapter that was not run: its question, what it needs, and what it would do."""
    source = read(notebooks / f"{name}.ipynb")
    opening = "".join(source["cells"][0]["source"]).split("\n\n")
    told = f"This chapter was not run at this scale. It needs {needs}."
    how = "[How to run it again](../book/how_to_rerun.md) says how a scale gets that."
    note = f":::{{note}}\n{told} {how}\n:::"
    design = [paragraph for paragraph in opening[2:] if not paragraph.startswith("**Time to")]
    text = "\n\n".join([*opening[:2], note, *design])
    cell = {"cell_type": "markdown", "id": "left-out", "metadata": {}, "source": text}
    return _json(source | {"cells": [cell]})


def read(path: Path) -> dict[str, Any]:
    """A notebook, or what made it, as its JSON has it. Raises BuildFailed when it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BuildFailed(f"{path}: cannot be read ({error})") from None


def training_page(folder: Path) -> Path:
    """Of many executed training notebooks, the one of LIMA's own set, or of the oracle's feedback,
    with the least seed."""
    shown = [*folder.glob("lima-seed-*.ipynb"), *folder.glob("oracle-seed-*.ipynb")]
    found = [path for path in shown if path.stem.count(".") == 0]
    return min(found, key=lambda path: int(path.stem.rpartition("-")[2]), default=folder / "lima")


def merged(source: Notebook, executed: Notebook) -> Notebook:
    """Prose, code and metadata of the source with the outputs of the executed notebook.

    Progress bars (standard error and widgets) are left out; control characters show as such, and
    tables are made readable. The cell in which papermill set the parameters is kept, after the
    defaults that it overrides, but out of sight: what made a page stands at its end. So is a cell
    whose code is folded up and which shows nothing, such as one that imports.
    """
    code = [cell for cell in executed["cells"] if cell["cell_type"] == "code"]
    injected = [cell for cell in code if "injected-parameters" in _tags(cell)]
    ran = iter([cell for cell in code if cell not in injected])
    cells = []
    for cell in source["cells"]:
        if cell["cell_type"] == "code":
            result: dict[str, Any] = next(ran, {"execution_count": None, "outputs": []})
            outputs = [_read(_visible(each)) for each in result["outputs"] if _shown(each)]
            cell = cell | {"execution_count": result["execution_count"], "outputs": outputs}
            metadata = quiet(described(cell["metadata"], outputs), outputs)
            cell |= {"metadata": folded(metadata, "".join(cell["source"]))}
        cells.append(cell)
        if "parameters" in _tags(cell):
            cells += [cell | {"metadata": {"tags": ["remove-cell"]}} for cell in injected]
    return source | {"cells": tried(cells)}


def tried(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cells without those that tried nothing in this run, and without the heading above each."""
    kept: list[dict[str, Any]] = []
    for cell in cells:
        said = [each.get("text", "") for each in cell.get("outputs", [])]
        if "".join(map("".join, said)).strip() != NOT_TRIED:
            kept.append(cell)
        elif kept and kept[-1]["cell_type"] == "markdown":
            kept.pop()
    return kept


def described(metadata: dict[str, Any], outputs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A cell's metadata, the alternative text of its figure followed by what a figure says of
    itself: what it holds, which nobody wrote by hand."""
    shown = metadata.get("mystnb", {})
    drawn = [each["data"] for each in outputs if "image/png" in each.get("data", {})]
    said = ["".join(data.get("text/plain", "")) for data in drawn]
    said = [text for text in said if text and not text.startswith("<")]  # <Figure size ...>
    if not said or "alt" not in shown.get("image", {}):
        return metadata
    image = shown["image"] | {"alt": " ".join([shown["image"]["alt"], *said])}
    return metadata | {"mystnb": shown | {"image": image}}


def quiet(metadata: dict[str, Any], outputs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A cell's metadata; where it would be nothing but a bar to unfold its code, the page leaves
    it to the notebook that readers take away."""
    tags = metadata.get("tags", [])
    if "hide-input" not in tags or outputs:
        return metadata
    return metadata | {"tags": [*tags, "remove-cell"]}


def folded(metadata: dict[str, Any], source: str) -> dict[str, Any]:
    """A cell's metadata, by which the page folds up code that is longer than what most read."""
    tags = metadata.get("tags", [])
    long = len(source.splitlines()) > READ_LINES
    return (
        metadata | {"tags": [*tags, "hide-input"]}
        if long and "hide-input" not in tags
        else metadata
    )


# --- tables --------------------------------------------------------------------------------------


def with_tables(page: str, name: str, chapters: Sequence[str], runs: Path) -> bytes:
    """A page of prose with the tables that it asks for. Raises BuildFailed for an unknown one."""

    def table_for(asked: re.Match[str]) -> str:
        if asked[1] == "provenance":
            return everything(chapters, runs)
        if asked[1] == "citation":
            return citation(asked[2])
        if asked[1] == "answered":
            return answers(runs)
        if asked[1] == "downloads":
            return downloads.run_page(runs) if asked[2] == "run" else downloads.page(runs)
        file, _, title = asked[2].partition(":")
        path = ROOT / "book" / "facts" / f"{file}.json"
        facts = read(path) if path.is_file() else {"tables": {}}
        if title not in facts["tables"]:
            raise BuildFailed(f"{name}: book/facts/{file}.json: no table {title!r}")
        return facts_table(facts, title)

    return ASKED.sub(table_for, page).encode()


def citation(of: str) -> str:
    """BibTeX of the paper, as the references have it, or of the book, from CITATION.cff."""
    if of == "paper":
        entries = (ROOT / "book" / "references.bib").read_text(encoding="utf-8").split("\n\n")
        found = next(entry.strip() for entry in entries if "{zhou2023lima," in entry)
    else:
        own = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
        config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
        authors = " and ".join(f"{{{each['name']}}}" for each in own["authors"])
        told = {"title": own["title"], "author": authors, "version": own["version"]}
        told |= {"year": config["copyright"], "url": config["repository"]["url"]}
        fields = "".join(f"  {name} = {{{value}}},\n" for name, value in told.items())
        found = f"@software{{limabook,\n{fields}}}"
    return f"```bibtex\n{found}\n```"


def answers(runs: Path) -> str:
    """One prompt, and below it a card an answer. Raises BuildFailed where files are damaged."""
    try:
        found = answered.side_by_side(runs)
    except (OSError, ValueError) as error:
        raise BuildFailed(f"{error}; run `make book`") from None
    if found is None:
        return "This run has no prompt that all three answered."
    prompt, given = found
    cards = []
    for each in given:
        cards += [f":::{{grid-item-card}} {each.name}", lines(each.text) or "(nothing)"]
        cards += ["", f"*{text(each.judged)}*"] if each.judged else []
        cards.append(":::")
    return "\n".join([f"> {lines(prompt)}\n\n::::{{grid}} 1 1 3 3", *cards, "::::"])


def lines(value: str) -> str:
    """A text as Markdown that shows it as it is, line by line."""
    return "\\\n".join(text(line) for line in visible(value).splitlines() if line.strip())


def facts_table(facts: Record, name: str) -> str:
    """A table of a file of facts, its first row the head, and below where it is from."""
    rows = facts["tables"][name]
    widths = [40, *[60 // (len(rows[0]) - 1)] * (len(rows[0]) - 1)]
    cells = [[text(value) for value in row] for row in rows]
    origin = f"Made from {text(facts['source'])} by `{facts['command']}`"
    return f"{table(cells, 'facts', widths, head=True)}\n\n{origin}"


def everything(chapters: Sequence[str], runs: Path) -> str:
    """What made every chapter: a row each, with what its runs have in common."""
    rows = [["Page", "Parameters", "Commit", "Data", "Seconds"]]
    for chapter in chapters:
        one, many = runs / "provenance" / f"{chapter}.json", runs / "provenance" / chapter
        records = [read(path) for path in ([one] if one.is_file() else sorted(many.glob("*.json")))]
        if not records:
            raise BuildFailed(f"{one}: not there; run `make book`")
        first = records[0]
        shared = {
            name: value
            for name, value in first["parameters"].items()
            if all(record["parameters"].get(name) == value for record in records)
        }
        page = f"{{doc}}`{chapter} </notebooks/{chapter}>`"
        page += f" ({len(records)} runs)" if len(records) > 1 else ""
        told = [parameters(shared), commit(first), short(first["data_digest"])]
        seconds = sum(record["seconds"] for record in records)
        rows.append([page, *map(text, [*told, f"{seconds:,.0f}"])])
    return table(rows, "provenance", [25, 30, 15, 15, 15], head=True)


def details(record: Record) -> str:
    """What made one page, as a table of names and texts."""
    machine = record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    told = {
        "Notebook": record["notebook"],
        "Parameters": parameters(record["parameters"]),
        "Commit": commit(record),
        "Seed": record["seed"],
        "Data digest": short(record["data_digest"]),
        "Code digest": short(record["code_digest"]),
        "Machine": "{processor}, {cores} cores, {memory_gib} GiB".format_map(machine),
        "Versions": versions,
        "Seconds": f"{record['seconds']:,}",
    }
    return table([[name, text(value)] for name, value in told.items()], "provenance", [25, 75])


def parameters(given: dict[str, Any]) -> str:
    """The parameters of a run, one after the other."""
    return ", ".join(f"{name} = {value}" for name, value in sorted(given.items()))


def commit(record: Record) -> str:
    """The commit of a run, and whether files differed from it."""
    if record["commit"] is None:
        return "outside git"
    return record["commit"][:10] + (" and changes" if record["dirty"] else "")


def short(digest: str | None) -> str:
    """The beginning of a digest, enough to compare by eye."""
    return digest[:12] if digest else "—"


def text(value: Any) -> str:
    """A value as Markdown that shows it as it is, whatever signs it holds."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(str(value).split()))


def table(rows: list[list[str]], name: str, widths: list[int], head: bool = False) -> str:
    """Rows of Markdown as a table of the class `<name>-table`."""
    lines = ["```{list-table}", f":class: {name}-table", f":widths: {' '.join(map(str, widths))}"]
    lines += [":header-rows: 1", ""] if head else [""]
    for row in rows:
        lines += [f"{'  -' if place else '* -'} {cell}".rstrip() for place, cell in enumerate(row)]
    return "\n".join([*lines, "```"])


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _title(name: str, data: bytes) -> str | None:
    """The first heading of a page."""
    if name.endswith(".ipynb"):
        data = "\n".join("".join(cell["source"]) for cell in json.loads(data)["cells"]).encode()
    elif not name.endswith(".md"):
        return None
    found = re.search(rb"^# (.+)$", data, re.MULTILINE)
    return found[1].decode() if found else None


def _tags(cell: dict[str, Any]) -> list[str]:
    return cell["metadata"].get("tags", [])


def _visible(content: Any) -> Any:
    """JSON whose texts, keys apart, hold no control characters, which strict builds refuse."""
    if isinstance(content, dict):
        return {key: _visible(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_visible(value) for value in content]
    return visible(content) if isinstance(content, str) else content


def _read(output: dict[str, Any]) -> dict[str, Any]:
    """An output whose tables can be read."""
    data = output.get("data", {})
    if "text/html" in data:
        table: str | None = frames.readable("".join(data["text/html"]))
    else:
        table = frames.series("".join(data.get("text/plain", "")))
    return output | {"data": data | {"text/html": table}} if table else output


def _shown(output: dict[str, Any]) -> bool:
    return output.get("name") != "stderr" and WIDGET not in output.get("data", {})
