"""What the site shows, without building it: `make docs` does that."""

import ast
import doctest
import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs" / "site"
EXAMPLES = sorted((ROOT / "docs" / "gallery").glob("plot_*.py"))


@pytest.fixture(autouse=True)
def site_on_path(monkeypatch):
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(SITE))
    yield
    for name in set(sys.modules) - before:
        if str(SITE) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def modules_with_all():
    """Every module of the library that says what is public in it."""
    for path in sorted((ROOT / "src" / "hunch").rglob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            target = node.targets[0] if isinstance(node, ast.Assign) else None
            if isinstance(target, ast.Name) and target.id == "__all__":
                parts = path.relative_to(ROOT / "src").with_suffix("").parts
                yield ".".join(part for part in parts if part != "__init__")


def test_every_package_with_public_names_has_a_page():
    public = importlib.import_module("public")
    listed = {package.module for package in public.PACKAGES}
    assert set(modules_with_all()) - {"hunch"} <= listed
    import hunch

    # `hunch` itself holds packages, each of which has a page, and experiments, whose commands do.
    for name in hunch.__all__:
        assert name in ("__version__", "experiments") or f"hunch.{name}" in listed


def test_every_public_name_is_in_a_table_of_the_reference():
    pytest.importorskip("sklearn")
    public, stage = importlib.import_module("public"), importlib.import_module("stage")
    pages = stage._reference()
    count = 0
    for package in public.PACKAGES:
        page = pages[Path("reference", f"{package.module}.rst")]
        for name in public.names_of(package):
            assert f"\n   {name}\n" in page
            count += 1
    assert count >= 150


def test_names_that_adapters_and_errors_list_by_hand_are_all_there_are():
    public = importlib.import_module("public")
    for package in public.PACKAGES:
        if package.names:
            path = ROOT / "src" / Path(*package.module.split(".")).with_suffix(".py")
            tree = ast.parse(path.read_text("utf-8"))
            classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
            assert sorted(package.names) == sorted(n for n in classes if not n.startswith("_"))


def test_the_command_line_page_has_every_command_and_option():
    commands = importlib.import_module("commands")
    page = commands.page()
    from hunch.cli.main import _COMMANDS

    for name in _COMMANDS:
        assert f"\n## hunch {name}\n" in page
    assert "`--target COLUMN`" in page
    assert page.count("\n`--seed") >= 5


def test_every_page_of_the_docs_is_on_the_site():
    shown = "\n".join(path.read_text("utf-8") for path in (SITE / "pages").glob("*.md"))
    for path in (ROOT / "docs").glob("*.md"):
        assert re.search(rf"^docs/{path.stem}$", shown, re.MULTILINE), (
            f"{path.name} is in no toctree of docs/site/pages"
        )


def test_there_are_examples_enough():
    assert len(EXAMPLES) >= 16


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_compiles_and_asks_a_question(path):
    text = path.read_text("utf-8")
    compile(text, str(path), "exec")
    title, line = text.split("\n")[1:3]
    assert title.endswith("?")
    assert line == "=" * len(title)
    assert len(re.findall(r"plt\.subplots\(", text)) == 1  # one figure


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Σ_i w_ki x_i²", r"\sum_{i} w_{ki} x_{i}^{2}"),
        ("√(2/M) cos(ω·x)", r"\sqrt{2/M} \operatorname{cos}(\omega \cdot x)"),
        ("a,   b what is trained", r"a, \quad b \text{ what is trained }"),
    ],
)
def test_equations_of_docstrings_become_latex(line, expected):
    mathml = importlib.import_module("mathml")
    assert mathml.latex(line) == expected
    assert doctest.testmod(mathml).failed == 0


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["See `fit(net, x)` and |θ|."], ["See ``fit(net, x)`` and \\|θ\\|."]),
        (["A `hunch.nn.Ensemble`."], ["A :py:obj:`hunch.nn.Ensemble <hunch.nn.Ensemble>`."]),
        (["The noise σ_ji²."], ["The noise σ\\ :sub:`ji`\\ ²."]),
        ([">>> a_b * `c`"], [">>> a_b * `c`"]),
        (
            ["It minimises", "", "    Σ_i x_i²", "", "and stops."],
            ["It minimises", "", ".. math:: \\sum_{i} x_{i}^{2}", "", "", "and stops."],
        ),
        (["Call", "", "    f(x)"], ["Call", "", ".. code-block:: python", "", "    f(x)", ""]),
    ],
)
def test_docstrings_become_restructuredtext(lines, expected):
    pytest.importorskip("sklearn")
    assert importlib.import_module("docstrings").convert(lines) == expected


def test_types_of_arrays_are_short():
    pytest.importorskip("sklearn")
    docstrings = importlib.import_module("docstrings")
    kinds = ("~typing.Any", "~numpy.integer[~typing.Any]", "~numpy.float64")
    for kind in kinds:
        long = f"(x: ~numpy.ndarray[tuple[~typing.Any, ...], ~numpy.dtype[{kind}]] | None = None)"
        short, returns = docstrings._shorten(None, "", "", None, None, long, None)
        assert (short, returns) == ("(x: ~numpy.ndarray | None = None)", None)


def test_broken_links_and_what_a_page_would_fetch_are_found(tmp_path):
    check_links = importlib.import_module("check_links")
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="b.html#there">b</a><a href="https://example.org">far</a>'
    )
    (tmp_path / "b.html").write_text('<p id="there"></p><a href="a.html#top">a</a>')
    assert check_links.broken(tmp_path) == []
    (tmp_path / "c.html").write_text(
        '<a href="d.html">d</a><a href="a.html#bottom">a</a><a href="#here">here</a>'
        '<script src="https://example.org/x.js"></script><img src="gone.png">'
    )
    assert check_links.broken(tmp_path) == [
        "c.html links to d.html: no such file",
        "c.html links to a.html#bottom: no such anchor",
        "c.html links to #here: no such anchor",
        "c.html loads https://example.org/x.js",
        "c.html links to gone.png: no such file",
    ]


def test_the_glossary_has_thirty_terms_and_those_that_are_linked():
    text = (SITE / "pages" / "glossary.md").read_text("utf-8")
    body = text[text.index("```{glossary}") :]
    terms = re.findall(r"^([^\s`].*)$", body, re.MULTILINE)
    assert len(terms) >= 30
    assert terms == sorted(terms, key=lambda term: term.lower().replace("ε", "eps"))
    pytest.importorskip("docutils")
    assert set(importlib.import_module("terms").WORDS.values()) <= set(terms)
