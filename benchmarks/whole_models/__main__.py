"""``python -m benchmarks.whole_models``; see ``benchmarks.whole_models.command``."""

import sys

from benchmarks.whole_models.command import main

sys.exit(main())
