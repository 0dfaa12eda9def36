"""What pytest leaves alone here: the pages alone are tests."""

from pages import ROOT, module_in

collect_ignore_glob = ["*.py", "_build/*"]

# The page's examples import what its first block holds.
module_in(ROOT / "docs" / "add_a_detector.md", "transformer_detector")
