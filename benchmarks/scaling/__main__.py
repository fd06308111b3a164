"""``python -m benchmarks.scaling``; see ``benchmarks.scaling.command``."""

import sys

from benchmarks.scaling.command import main

sys.exit(main())
