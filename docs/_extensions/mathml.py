"""Formulas as MathML, converted from TeX when the pages are built.

Browsers show MathML themselves, so pages need neither a script nor a font from a network.
"""

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml


def _mathml(node, as_block):
    text = node.astext().replace("\n", " ")
    try:
        return tex2mathml(text, as_block=as_block)
    except Exception as error:  # the class depends on docutils' version
        raise ValueError(f"{node.source}:{node.line}: cannot show {text!r}: {error}") from error


def _visit_inline(writer, node):
    writer.body.append(_mathml(node, as_block=False))
    raise SkipNode


def _visit_block(writer, node):
    # A formula wider than the page scrolls in a box of its own.
    writer.body.append(f'<div class="formula">{_mathml(node, as_block=True)}</div>\n')
    raise SkipNode


def setup(app):
    """Register the renderer; `html_math_renderer = "mathml"` chooses it."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
