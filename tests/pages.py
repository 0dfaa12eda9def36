"""What tests need to know of Markdown: headings, links and tables of a page, outside of code."""

import re
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parent.parent
_FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)


def prose(page):
    """Return the text of a page without its blocks of code."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page):
    """Return the anchors that GitHub and MyST make of the headings."""
    found, counts = set(), {}
    for heading in re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        counts[slug] = counts.get(slug, -1) + 1
        found.add(f"{slug}-{counts[slug]}" if counts[slug] else slug)
    return found


def links(page):
    """Return the targets of links and pictures."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    return re.findall(r"\]\(([^)\s]+)\)", text)


def broken(page):
    """Return the relative links that lead nowhere, each with the reason."""
    wrong = []
    for target in links(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists():
            wrong.append(f"{target}: no such file")
        elif anchor and there.suffix == ".md" and anchor not in anchors(there) | labels():
            wrong.append(f"{target}: no such heading")
    return wrong


def labels():
    """Return the labels of the documentation, which its pages can link to from anywhere."""
    pages = [*(ROOT / "docs").glob("*.rst"), *(ROOT / "docs" / "examples").glob("*.rst")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    return set(re.findall(r"^\.\. _([\w-]+):", text, re.MULTILINE))


def tables(page):
    """Return each table as a pair: cells of the header, and rows of cells."""
    found = []
    for block in re.findall(r"(?:^\|.*\|[ ]*\n)+", prose(page) + "\n", re.MULTILINE):
        lines = [[cell.strip() for cell in row[1:-1].split("|")] for row in _lines(block)]
        found.append((lines[0], lines[2:]))
    return found


def _lines(block):
    return [line.strip() for line in block.strip().splitlines()]


def module_in(page, name):
    """Return the module that the first block of Python of a page is, imported by a name."""
    if name not in sys.modules:
        source = re.search(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)[
            1
        ]
        module = ModuleType(name)
        exec(compile(source, f"{page.name}, {name}", "exec"), vars(module))
        sys.modules[name] = module
    return sys.modules[name]
