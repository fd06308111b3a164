"""Everything that uses TVM's compiler.

Importing the package has two effects, because both must precede every use of its modules, which import TVM themselves:
it checks the pinned pair of packages before TVM is imported, since a wrong pair crashes the process, and it registers
the kernels' thread pool before generated code is loaded, which looks up its parallel loops when it is loaded. Nothing
imports this package at the top level of a module outside of it, so ``import compiler`` does not load TVM.
"""

from compiler.program import tvm_pair

tvm_pair.load()

from compiler.tvm_backend import thread_pool  # noqa: E402  # imports TVM

thread_pool.share()
