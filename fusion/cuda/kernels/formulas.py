"""The formulas of `fusion/geometry.py` as device functions."""

import ast
import inspect
from collections.abc import Callable
from typing import Any

from fusion import geometry
from fusion.cuda.kernels.device import device_function, product

__all__ = ["area_of", "formula", "gaussian", "intersection", "iou", "linear", "match", "overlap"]


class _Products(ast.NodeTransformer):
    """Replaces a * b by product(a, b)."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Mult):
            return node
        return ast.copy_location(ast.Call(ast.Name("product", ast.Load()), [node.left, node.right], []), node)


def formula(function: Callable[..., float]) -> Any:
    """Compile a formula with products that are rounded on their own, as the CPU's are."""
    tree = ast.fix_missing_locations(_Products().visit(ast.parse(inspect.getsource(function))))
    names = {**function.__globals__, "product": product}
    exec(compile(tree, str(inspect.getsourcefile(function)), "exec"), names)
    return device_function(names[function.__name__])


intersection = formula(geometry.intersection)
iou = formula(geometry.iou)
gaussian = formula(geometry.gaussian)
linear = formula(geometry.linear)
match = formula(geometry.match)


@device_function
def area_of(x1, y1, x2, y2):
    """Return the area of a box."""
    return product(x2 - x1, y2 - y1)


@device_function
def overlap(columns, i, j):
    """Return the IoU of boxes i and j of the columns."""
    ax1, ay1, ax2, ay2 = columns.x1[i], columns.y1[i], columns.x2[i], columns.y2[i]
    bx1, by1, bx2, by2 = columns.x1[j], columns.y1[j], columns.x2[j], columns.y2[j]
    return iou(
        ax1, ay1, ax2, ay2, product(ax2 - ax1, ay2 - ay1), bx1, by1, bx2, by2, product(bx2 - bx1, by2 - by1)
    )  # fmt: skip
