"""The site's settings: `make docs` reads them."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.generators import docstrings, pages
from metaloop import __version__

project, author, release = "metaloop", "the metaloop authors", __version__
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_static_path, html_css_files = ["static"], ["site.css"]
html_title = f"metaloop {release}"
exclude_patterns = ["_build", "generated/parts"]
default_role = "code"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_inherit_docstrings = False  # a contract is documented once, on the contract
napoleon_use_ivar = True
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
myst_heading_anchors = 3
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # torch's names, whose pages need a network


def setup(app: Sphinx) -> None:
    """Write the generated pages before any is read."""
    app.connect("builder-inited", lambda app: pages.write(Path(app.srcdir)))
    app.connect("autodoc-process-docstring", docstrings.to_rst, priority=100)
