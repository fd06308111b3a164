"""``python -m benchmarks.tvm_import``; see ``benchmarks.tvm_import.command``."""

import sys

from benchmarks.tvm_import.command import main

sys.exit(main())
