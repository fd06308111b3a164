"""``python -m benchmarks.layers``; see ``benchmarks.layers.command``."""

import sys

from benchmarks.layers.command import main

sys.exit(main())
