"""Products that are rounded on their own, as the CPU's are.

The GPU's compiler joins a product with the sum that it goes into (fused multiply-add), which skips a rounding, and
Numba has no switch for that. So every `a * b` of the code that is compiled for the GPU is replaced by a call of
`product` before the compiler sees it.
"""

import ast
import functools
import inspect
import operator
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

from numba import config

__all__ = ["rounded"]

_NAME = "_product_of"

if not config.ENABLE_CUDASIM:
    from numba.cuda.extending import intrinsic
    from numba.cuda.libdevice import dmul_rn, fmul_rn

    @intrinsic
    def product(typing, a, b):
        """Return a * b: a float rounded on its own, or a whole number."""
        kind = str(typing.resolve_function_type(operator.mul, (a, b), {}).return_type)
        function = typing.resolve_value_type({"float64": dmul_rn, "float32": fmul_rn}.get(kind, operator.mul))
        signature = typing.resolve_function_type(function, (a, b), {})

        def generate(context, builder, signature, arguments):
            return context.get_function(function, signature)(builder, arguments)

        return signature, generate


class _Products(ast.NodeTransformer):
    """Replaces products by calls."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return _call(node.left, node.right, node) if isinstance(node.op, ast.Mult) else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Mult):
            return node
        target = ast.parse(ast.unparse(node.target), mode="eval").body  # as a value
        return ast.copy_location(ast.Assign([node.target], _call(target, node.value, node)), node)


def _call(left: ast.expr, right: ast.expr, node: ast.AST) -> ast.Call:
    return ast.copy_location(ast.Call(ast.Name(_NAME, ast.Load()), [left, right], []), node)


@functools.cache
def _definitions(path: str) -> dict[str, ast.FunctionDef]:
    """Return the functions of a file by name, with the products replaced."""
    tree = _Products().visit(ast.parse(Path(path).read_text(encoding="utf-8")))
    return {node.name: node for node in ast.fix_missing_locations(tree).body if isinstance(node, ast.FunctionDef)}


def rounded(function: Callable[..., Any]) -> Any:
    """Return a function of a module as the GPU's compiler should see it."""
    if config.ENABLE_CUDASIM:  # Python joins nothing
        return function
    assert isinstance(function, FunctionType)
    path = str(inspect.getsourcefile(function))
    node = _definitions(path)[function.__name__]
    node.decorator_list = []
    made = dict(function.__globals__)  # what annotations name
    exec(compile(ast.Module([node], []), path, "exec"), made)
    # in the globals of the module, as it may define later what the function calls
    function.__globals__[_NAME] = product
    return FunctionType(made[function.__name__].__code__, function.__globals__, function.__name__)
