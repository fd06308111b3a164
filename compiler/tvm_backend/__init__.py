"""All that imports TVM. Importing this package checks the pinned pair first, so no module in it needs to."""

from compiler import tvm_pair

tvm_pair.load()
