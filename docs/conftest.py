"""What pytest leaves alone here: the pages alone are tests."""

collect_ignore_glob = ["*.py", "_build/*"]
