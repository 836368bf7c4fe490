"""The answer's tree with the AP of its nodes."""

from __future__ import annotations

import io

from evaluation.report import PagePicture, Section, Sortable, Words
from fusion.printed_table import PrintedColumn, PrintedTable
from search.answer import Answer
from search.telling import depth_sentence, draw_tree, operator_words, outline

__all__ = ["section"]


def section(answer: Answer) -> Section:
    """Return the tree as a picture, as text and as a table of its nodes."""
    sink = io.BytesIO()
    draw_tree(answer, sink)
    split = list(answer.rivals)[1]
    picture = PagePicture(
        sink.getvalue(), "image/svg+xml", f"The tree as text stands below. {outline(answer)}", light=True
    )
    heads = [PrintedColumn(head) for head in ("node", "members", "depth")]
    table = PrintedTable([*heads, PrintedColumn("AP", ".4f", right=True)])
    for node in sorted(answer.nodes, key=lambda node: (node.depth, -node.ap)):
        members = ", ".join(answer.problem.names[leaf] for leaf in node.members)
        what = "member" if node.operator is None else operator_words(node.operator)
        table.rows.append([what, members, node.depth, node.ap])
    blocks = [picture, Words(outline(answer).splitlines(), as_written=True), Sortable(table, bars=("AP",))]
    return Section("The tree", [*blocks, Words([depth_sentence(answer)])], f"AP of each node on the {split} split.")
