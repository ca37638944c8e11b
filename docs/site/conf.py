"""Settings of the site for Sphinx: see `docs/decisions/0046-site.md`; built by `make docs`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import docstrings
import mathml
import matplotlib
import public
import sidebar
import terms
from sphinx.application import Sphinx
from sphinx.config import Config

import hunch

matplotlib.use("svg")

project = "hunch"
author = "The hunch authors"
copyright = "The hunch authors, MIT licence"
version = release = hunch.__version__
language = "en"
root_doc = "index"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["docs/gallery/*", "gallery/**/*.ipynb", "gallery/**/*.py"]
templates_path = [str(Path(__file__).parent / "templates")]

# --- pages

myst_enable_extensions = ["attrs_block", "deflist"]
myst_heading_anchors = 4
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

# --- reference

autosummary_generate = True
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "inherited-members": ", ".join(public.BASES),
}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
autodoc_mock_imports = public.EXTRAS_NOT_NEEDED
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 70
add_module_names = False
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Shape", "Reference"]

# --- gallery

sphinx_gallery_conf = {
    "examples_dirs": "docs/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "within_subsection_order": "FileNameSortKey",
    "only_warn_on_example_error": False,
    "abort_on_example_error": False,
    "download_all_examples": True,
    "image_srcset": ["2x"],
    "min_reported_time": 1e6,
    "write_computation_times": False,
    "show_memory": False,
    "show_signature": False,
    "reset_modules": ("matplotlib", "calm.calm"),
    "remove_config_comments": True,
    "copyfile_regex": r".*\.csv",
}

# --- page

html_theme = "furo"
html_title = "hunch"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_search_summary = False  # a browser fetches nothing from file://
html_use_index = True
html_last_updated_fmt = None
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "monokai"

os.environ.setdefault("OMP_NUM_THREADS", "1")


def take_as_it_is(app: Sphinx, config: Config) -> None:
    """Copy what was laid out as a page of its own, the playground."""
    config.html_extra_path = [str(Path(app.srcdir) / "extra")]


def setup(app: Sphinx) -> None:
    """Hang in what is ours: docstrings, equations, and the count of public names."""
    app.connect("config-inited", take_as_it_is)
    docstrings.setup(app)
    mathml.setup(app)
    public.setup(app)
    sidebar.setup(app)
    terms.setup(app)
