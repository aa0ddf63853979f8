"""Sphinx's settings for the pages that build.py puts together. Nothing is fetched: equations are
MathML in a font that comes along, and the search index is a file."""

import html
import re
from pathlib import Path

import ziamath
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

import gdwlib

project, author = "gdwlib", "The gdwlib authors"
release = version = gdwlib.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "gdwlib"
html_copy_source = html_show_sourcelink = html_show_copyright = False
html_show_search_summary = False  # which a page opened from a folder may not fetch
html_math_renderer = "mathml"
html_static_path = [
    "static",
    str(Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf"),
]

nb_execution_mode = "off"  # the notebooks are shown as they are committed
nb_output_stderr = "remove"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]

default_role = "code"  # single backticks in docstrings
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
add_module_names = False
napoleon_google_docstring, napoleon_numpy_docstring = True, False

# where the paper's equations stand, by number
EQUATIONS = {
    str(number): page
    for page, numbers in (
        ("notebooks/01_class_level_gradients", (1, 2)),
        ("notebooks/02_zero_mean_constraint", (3, 4, 5, 6)),
        ("notebooks/03_two_stage_weights", (7, 8, 9, 10, 11)),
    )
    for number in numbers
}


def mathml(latex: str, display: str) -> str:
    text = convert(latex.replace(r"\arg", r"\operatorname{arg}"), display=display)
    if "\\" in html.unescape(text):
        raise ValueError(f"docs/conf.py: latex2mathml does not know all of {latex!r}")
    return text


def visit_math(self, node: nodes.math) -> None:
    self.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_math_block(self, node: nodes.math_block) -> None:
    latex = node.astext()
    tag = re.search(r"\\tag\{(\w+)\}", latex)
    anchor = f' id="equation-{tag[1]}"' if tag else ""
    number = f'<a class="number" href="#equation-{tag[1]}">({tag[1]})</a>' if tag else ""
    equation = mathml(latex.replace(tag[0], "") if tag else latex, "block")
    self.body.append(f'<div class="equation"{anchor}>{equation}{number}</div>\n')
    raise nodes.SkipNode


class LinkEquations(SphinxPostTransform):
    """“Eq. 4” and “Equation 4” in running text lead to where the equation stands."""

    default_priority = 900
    formats = ("html",)

    def run(self, **_) -> None:
        for text in list(self.document.findall(nodes.Text)):
            if isinstance(
                text.parent,
                (nodes.reference, nodes.literal, nodes.literal_block, nodes.title, nodes.raw),
            ):
                continue
            pieces = re.split(r"\b((?:Eq\.|Equation)\s(\d+))\b", text.astext())
            if len(pieces) == 1:
                continue
            new = []
            for plain, shown, number in zip(
                pieces[::3], [*pieces[1::3], None], [*pieces[2::3], None], strict=True
            ):
                new.append(nodes.Text(plain))
                if number in EQUATIONS:
                    here = self.env.docname
                    page = EQUATIONS[number]
                    uri = "" if page == here else self.app.builder.get_relative_uri(here, page)
                    new.append(
                        nodes.reference("", shown, internal=True, refuri=f"{uri}#equation-{number}")
                    )
                elif shown:
                    new.append(nodes.Text(shown))
            text.parent.replace(text, new)


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.add_post_transform(LinkEquations)
    app.add_css_file("site.css")
