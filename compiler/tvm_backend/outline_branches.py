"""Makes a function of each branch, so that TVM fuses its operators and plans its memory.

TVM fuses operators in dataflow blocks only, which contain no branches. It plans the memory of a function as if all of
it ran: the second branch of an If would use memory that only the first one allocates.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import ir, relax

UPPER_BOUNDS = "tir_var_upper_bound"  # attribute of a function: the largest value of each symbolic size


@tvm.transform.module_pass(opt_level=0, name="loopwright.outline_branches")
def outline_branches(module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
    """Replaces the branches of ``main`` by calls of new functions; puts all other operators into dataflow blocks."""
    outlining = _Outlining(module)
    main = outlining.visit_expr(module["main"])
    if not outlining.count:
        return module
    outlined = outlining.builder_.get()
    outlined.update_func(outlined.get_global_var("main"), main)
    return relax.transform.ConvertToDataflow(min_size=1)(outlined)


@relax.expr_functor.mutator
class _Outlining(relax.PyExprMutator):
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.count = 0
        self._attrs = module["main"].attrs

    def visit_if_(self, op: Any) -> Any:
        found: Any = super().visit_if_(op)
        return relax.If(found.cond, self._called(found.true_branch), self._called(found.false_branch))

    def _called(self, branch: Any) -> Any:
        """Returns the call of a new function of what the branch reads."""
        self.count += 1
        read: list[Any] = list(relax.analysis.free_vars(branch))
        function: Any = relax.Function(read, branch, branch.ty)
        sizes: list[Any] = list(relax.analysis.free_symbolic_vars(function))
        if sizes:  # of no tensor that it reads
            function = relax.Function([*read, relax.Var("sizes", relax.ShapeType(sizes))], branch, branch.ty)
        bounds = (self._attrs or {}).get(UPPER_BOUNDS)
        if bounds is not None:
            function = function.with_attr(UPPER_BOUNDS, bounds)
        name = self.builder_.add_func(relax.utils.copy_with_new_vars(function), f"branch{self.count}")
        return ir.Call(name, [*read, relax.ShapeExpr(sizes)] if sizes else read)
