"""Configuration of Sphinx."""

import sys
from pathlib import Path

from docutils import nodes

import skrdae

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "skrdae"
author = "the skrdae developers"
release = skrdae.__version__

extensions = [
    "mathml",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples"]
templates_path = ["_templates"]
default_role = "code"  # of parameters' names in docstrings
maximum_signature_line_length = 80  # longer signatures have a line for each parameter
smartquotes = False  # quotes in docstrings are Python's
toc_object_entries_show_parents = "hide"

myst_heading_anchors = 4  # GitHub makes anchors of all

autodoc_default_options = {
    "members": True,
    # What comes from PyOD, scikit-learn and PyTorch is documented there.
    "inherited-members": "BaseDetector, TransformerMixin, Module, dict",
    # Attributes are listed in the docstrings of the detectors.
    "exclude-members": "device_, get_metadata_routing, get_params, network_, output_activation, "
    "scaler_, score_function, set_decision_function_request, set_fit_request, set_output, "
    "set_params, set_predict_proba_request, set_predict_request, set_score_request, "
    "warns_of_constants",
}
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say it
numpydoc_show_class_members = False  # autodoc lists them

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "within_subsection_order": "FileNameSortKey",
    # The page of a class or function shows the examples that use it.
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skrdae",),
    "reference_url": {"skrdae": None},
    "thumbnail_size": (600, 400),
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "capture_repr": (),
}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "show_prev_next": False,
    "header_links_before_dropdown": 6,
}
html_title = f"skrdae {release}"
html_show_sourcelink = False
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["skrdae.css"]


def _strip_code(app, doctree):
    # Doctest wants an empty line after the last output; readers see none.
    for block in doctree.findall(nodes.literal_block):
        if block.rawsource == block.astext():  # Sphinx highlights none but these
            block.rawsource = block.rawsource.rstrip()
            block[:] = [nodes.Text(block.rawsource)]


def setup(app):
    """Connect what extensions do not do."""
    app.connect("doctree-read", _strip_code)
