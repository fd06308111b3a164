"""All that imports TVM. Importing this package first checks the pinned pair and shares the kernels' threads with TVM's
code, so no module in it needs to."""

from compiler.program import tvm_pair

tvm_pair.load()

from compiler.tvm_backend import thread_pool  # noqa: E402  # imports TVM

thread_pool.share()
