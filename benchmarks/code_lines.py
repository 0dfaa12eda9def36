"""Count the lines of the package's code, without comments, docstrings and blank lines.

    python benchmarks/code_lines.py            # skrdae/ beside this folder
    python benchmarks/code_lines.py FOLDER     # another tree's package

Prints a line for each folder, one for the modules outside of folders, and the total. A line counts
if a token of code is on it; so does each line of a string that is no docstring.
"""

import argparse
import ast
import io
import tokenize
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "skrdae"
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(source):
    """Return how many lines of a module's source are code."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            lines.difference_update(range(docstring.lineno, docstring.end_lineno + 1))
    return len(lines)


def counted(package):
    """Return the lines of each folder of a package, most first; "." is the package itself."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        folder = path.relative_to(package).parts[0] if path.parent != package else "."
        found[folder] = found.get(folder, 0) + code_lines(path.read_text(encoding="utf-8"))
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", nargs="?", type=Path, default=PACKAGE, metavar="FOLDER")
    package = parser.parse_args().package
    found = counted(package)
    if not found:
        parser.error(f"{package} holds no module: name the folder of a package, such as skrdae.")
    for folder, n_lines in (found | {"total": sum(found.values())}).items():
        print(f"{n_lines:7,}  {folder}")


if __name__ == "__main__":
    main()
