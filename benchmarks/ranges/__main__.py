"""``python -m benchmarks.ranges``; see ``benchmarks.ranges.command``."""

import sys

from benchmarks.ranges.command import main

sys.exit(main())
