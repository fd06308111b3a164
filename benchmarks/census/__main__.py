"""``python -m benchmarks.census``; see ``benchmarks.census.command``."""

import sys

from benchmarks.census.command import main

sys.exit(main())
