"""``python -m benchmarks.optimizer``; see ``benchmarks.optimizer.command``."""

import sys

from benchmarks.optimizer.command import main

sys.exit(main())
