"""Configuration of Sphinx."""

import skrdae

project = "skrdae"
author = "the skrdae developers"
release = skrdae.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples"]
templates_path = ["_templates"]
default_role = "code"  # of parameters' names in docstrings

myst_heading_anchors = 4  # GitHub makes anchors of all

autodoc_default_options = {
    "members": True,
    # What comes from PyOD and scikit-learn is documented there.
    "inherited-members": "BaseDetector, TransformerMixin",
    "exclude-members": "get_metadata_routing, get_params, score_function, "
    "set_decision_function_request, set_fit_request, set_output, set_params, "
    "set_predict_proba_request, set_predict_request, set_score_request",
}
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say it
numpydoc_show_class_members = False  # autodoc lists them

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "capture_repr": (),
}

html_theme = "pydata_sphinx_theme"
html_theme_options = {"show_prev_next": False}
html_title = f"skrdae {release}"
html_show_sourcelink = False
