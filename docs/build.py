"""The site: executed notebooks, tables and the API reference as static pages, from what is
committed: `make site`."""

import base64
import functools
import html
import io
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import matplotlib

matplotlib.use("Agg")

import nbformat
from PIL import Image
from sphinx.cmd.build import build_main

import gdwlib
from gdwlib.companion import figures, paper_tables, plots, tables
from gdwlib.companion.evidence import Evidence
from gdwlib.companion.html_tables import as_html
from gdwlib.runs.fields import fields_described

ROOT = Path(__file__).parents[1]
MODULES = (  # in the API reference, besides methods and data, which have sections of their own
    "weighting", "forward_mode", "bilevel", "optimizers", "learner", "models", "bench",
    "companion.evidence", "companion.tables", "companion.claims", "companion.scorecard",
    "companion.paper_index", "companion.plots", "companion.figures", "companion.explorer",
)  # fmt: skip
CHAPTERS = ("own_data", "experiments", "extending", "speed", "where_things_are")
PAGES = (
    "README.md",
    *(f"docs/{name}.md" for name in CHAPTERS),
    "profiles/README.md",
    "outputs/README.md",
    "data/README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
)
SCALES = (
    ("cifar10", "paper"),
    ("cifar100", "paper"),
    ("cifar10", "half"),
    ("fashion", "small"),
    ("cifar10", "small"),
)


@functools.cache
def revision(path: Path) -> str:
    """The commit that last changed a file; empty outside a checkout, and without git."""
    git = ["git", "log", "-1", "--format=%h", "--", str(path)]
    try:
        return subprocess.run(
            git, cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip()
    except OSError:
        return ""


def provenance(figure: bytes, path: Path, records: dict) -> dict:
    """What a figure of a notebook was drawn from: `plots.set_provenance` writes it into the figure.
    Of runs that have no record among `records`, which the notebook trained itself, the name is all
    there is."""
    sources = Image.open(io.BytesIO(figure)).info.get("Keywords", "").split()
    # of runs; the others are files of outputs/
    names = [name for name in sources if "/" not in name]
    found = [records[name] for name in names if name in records]
    return {
        "notebook": path.stem,
        "revision": revision(path),
        "runs": names,
        "files": sorted(set(sources) - set(names)),
        "hashes": sorted({name.rsplit("-", 1)[1] for name in names}),
        "seeds": sorted({record.config["seed"] for record in found}),
        "code": sorted({record.environment["git_revision"] or "unknown" for record in found}),
    }


def provenance_html(source: dict) -> str:
    """The provenance under a figure."""
    notebook = (
        f"; notebook at revision <code>{source['revision']}</code>" if source["revision"] else ""
    )
    if source["files"]:
        files = ", ".join(f"<code>outputs/{html.escape(name)}</code>" for name in source["files"])
        return f'<p class="from">From {files}{notebook}.</p>'
    if not source["runs"]:
        return f'<p class="from">Drawn by the cell above from data and code alone{notebook}.</p>'
    seeds, code = (", ".join(map(str, source[name])) for name in ("seeds", "code"))
    runs = "<br>".join(f"<code>{html.escape(name)}</code>" for name in source["runs"])
    if not code:
        return f'<p class="from">From a run that the notebook trains itself, {runs}{notebook}.</p>'
    return (
        f'<details class="from"><summary>From {len(source["runs"])} runs, seeds {seeds}{notebook}'
        f"</summary>Trained by code at <code>{code}</code>. A run id ends in the hash of its "
        f"configuration.<br>{runs}</details>"
    )


def stage(source: Path, records: dict) -> list[dict]:
    """Copy the pages, with each figure's provenance under it; → all of it."""
    every = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, 4)
        cells = []
        for cell in notebook.cells:
            cells.append(cell)
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    every.append(
                        provenance(base64.b64decode(output["data"]["image/png"]), path, records)
                    )
                    anchor = f"figure-{sum(one['notebook'] == path.stem for one in every)}"
                    every[-1]["anchor"] = anchor
                    cells.append(
                        nbformat.v4.new_markdown_cell(
                            f'<div id="{anchor}">{provenance_html(every[-1])}</div>'
                        )
                    )
        notebook.cells = cells
        to = source / "notebooks" / path.name
        to.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, to)
    for name in PAGES:
        to = source / (name if name != "README.md" else "index.md")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(relinked((ROOT / name).read_text(), (ROOT / name).parent, to, source))
    (source / "outputs" / "figures").mkdir(parents=True)
    shutil.copy(ROOT / "outputs" / "figures" / "messages.png", source / "outputs" / "figures")
    return every


def relinked(text: str, home: Path, page: Path, source: Path) -> str:
    """Links to pages of the site stay; those to other files of the repository become their
    names."""

    def one(match: re.Match) -> str:
        target = match[2].split("#")[0]
        if "://" in target or not target or target.endswith(".png"):
            return match[0]
        path = (home / target).resolve().relative_to(ROOT)
        if path.parts[0] == "notebooks" or str(path) in PAGES:
            return (
                match[0].replace("README.md", "index.md") if str(path) == "README.md" else match[0]
            )
        return match[1]

    text = re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", one, text)
    if page.name == "index.md":
        notebooks = (ROOT / "notebooks").glob("*.ipynb")
        others = [name.removesuffix(".md") for name in PAGES[1 + len(CHAPTERS) :]]
        for head, entries in (
            ("Notebooks", sorted(f"notebooks/{path.name}" for path in notebooks)),
            ("Chapters", [f"docs/{name}" for name in CHAPTERS]),
            ("Reference", ["tables", "api", "figures", *others]),
        ):
            text += (
                f"\n\n```{{toctree}}\n:hidden:\n:caption: {head}\n\n"
                + "\n".join(entries)
                + "\n```\n"
            )
    return text


def table_page(source: Path, evidence: Evidence) -> None:
    """Tables 2 to 4, ours beside the paper's."""
    plots.style()
    text = "# The paper's tables, ours beside them\n\n"
    text += "From the committed records, as by `python -m gdwlib table N`.\n"
    (source / "drawn").mkdir()
    for number, (dataset, preset) in itertools.product(paper_tables.TABLES, SCALES):
        frame = tables.compare(number, evidence, dataset, preset)
        if not frame["seeds"].any():
            continue
        head, note = tables.headed(frame)
        figure = source / "drawn" / f"table{number}-{dataset}-{preset}.png"
        figures.gains(frame, evidence).savefig(figure)
        table = as_html(tables.readable(frame))
        text += (
            f"\n## {head}\n\n{note}\n\n<div>\n{table}\n</div>\n\n![{head}](drawn/{figure.name})\n"
        )
    (source / "tables.md").write_text(text)


def figure_page(source: Path, every: list[dict]) -> None:
    """Where every figure comes from, in one table."""
    text = "# Where the figures come from\n\n"
    text += "Under each figure of a notebook stand the runs themselves.\n\n"
    text += "| figure | runs | seeds | trained by code at | notebook at |\n|---|---|---|---|---|\n"
    for one in every:
        # an anchor of ours, which Sphinx does not know
        place = f"notebooks/{one['notebook']}.html#{one['anchor']}"
        link = f'<a href="{place}">{one["notebook"]}, {one["anchor"].replace("-", " ")}</a>'
        seeds, code = (", ".join(map(str, one[name])) or "–" for name in ("seeds", "code"))
        what = len(one["runs"]) or ", ".join(f"`{name}`" for name in one["files"]) or "–"
        text += f"| {link} | {what} | {seeds} | {code} | {one['revision']} |\n"
    (source / "figures.md").write_text(text)


def api_page(source: Path) -> None:
    """Every public name, by its docstring."""
    kinds: dict[str, list[str]] = {
        "Functions": [],
        "Classes": [],
        "Errors": [],
        "Registries": [],
        "Constants": [],
    }
    for name in gdwlib.__all__:
        thing = getattr(gdwlib, name)
        if isinstance(thing, type):
            kinds["Errors" if issubclass(thing, Exception) else "Classes"].append(name)
        elif callable(thing):
            kinds["Functions"].append(name)
        else:
            kinds["Registries" if isinstance(thing, dict) else "Constants"].append(name)
    text = "API reference\n=============\n\n"
    text += "What ``import gdwlib`` gives. Shapes are in brackets: (n, C).\n\n"
    for kind, names in kinds.items():
        text += f"{kind}\n{'-' * len(kind)}\n\n"
        for name in names:
            home = getattr(getattr(gdwlib, name), "__module__", "")
            if kind == "Registries":
                entries = ", ".join(f"``{key}``" for key in getattr(gdwlib, name))
                text += f".. py:data:: gdwlib.{name}\n\n   {entries}\n\n"
            elif kind == "Constants":
                text += f".. py:data:: gdwlib.{name}\n   :value: {getattr(gdwlib, name)!r}\n\n"
            elif kind == "Functions":
                text += f".. autofunction:: {home}.{name}\n\n"
            else:
                text += (
                    f".. autoclass:: {home}.{name}\n"
                    + "   :members:\n" * (kind == "Classes")
                    + "\n"
                )
                if name == "RunConfig":
                    text += config_table()
    text += "Modules\n-------\n\n"
    for name in MODULES:
        text += module(f"gdwlib.{name}")
    text += "Methods\n-------\n\n"
    for name, method in gdwlib.METHODS.items():
        text += f"{name}\n{'~' * len(name)}\n\n"
        lines = (sys.modules[method.__module__].__doc__ or method.__doc__ or "").splitlines()
        text += "::\n\n" + "".join(f"   {line}\n" for line in lines) + "\n"
    text += module("gdwlib.methods.method") + "Data\n----\n\n"
    for name in ("dataset", "split", "noise", "imbalance"):
        text += module(f"gdwlib.data.{name}")
    (source / "api.rst").write_text(text)


def module(name: str) -> str:
    """All of a module but what stands among the public names already."""
    public = ", ".join(
        key for key in gdwlib.__all__ if getattr(getattr(gdwlib, key), "__module__", None) == name
    )
    return (
        f".. automodule:: {name}\n   :members:\n"
        + f"   :exclude-members: {public}\n" * bool(public)
        + "\n"
    )


def config_table() -> str:
    """RunConfig's fields as they are declared."""
    rows = "".join(
        f"   * - ``{name}``\n     - {field.default or '–'}\n     - {', '.join(field.methods)}\n"
        f"     - {field.meaning.replace('*', chr(92) + '*')}\n"
        for name, field in fields_described().items()
    )
    head = "   * - field\n     - default\n     - of methods\n     - meaning\n"
    return f"\n.. list-table::\n   :header-rows: 1\n\n{head}{rows}\n"


class Links(HTMLParser):
    """What a page links to, and what in it can be linked to."""

    def __init__(self, text: str):
        super().__init__()
        self.targets, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.append(value)
            if name in ("id", "name") and value:
                self.anchors.add(value)


def broken(site: Path) -> Iterator[str]:
    """Links within the site that lead nowhere."""
    pages = {path: Links(path.read_text()) for path in site.rglob("*.html")}
    for path, page in pages.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not to.exists():
                yield f"{path.relative_to(site)}: {target} does not exist"
            elif (
                parts.fragment and to in pages and unquote(parts.fragment) not in pages[to].anchors
            ):
                yield f"{path.relative_to(site)}: {target} has no such place"


def main(to: Path) -> int:
    source, site = to / "source", to / "html"
    for folder in (source, site):
        shutil.rmtree(folder, ignore_errors=True)
    source.mkdir(parents=True)
    evidence = Evidence()
    every = stage(source, evidence.records())
    table_page(source, evidence)
    figure_page(source, every)
    api_page(source)
    (source / "provenance.json").write_text(json.dumps(every, indent=1))
    if build_main(["-q", "-W", "--keep-going", "-c", str(ROOT / "docs"), str(source), str(site)]):
        return 1
    wrong = list(broken(site))
    for line in wrong:
        print(line, file=sys.stderr)
    pages = len(list(site.rglob("*.html")))
    print(f"{site / 'index.html'}: {pages} pages, {len(every)} figures, {len(wrong)} broken links")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site"))
