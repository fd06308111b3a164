"""``python -m benchmarks.machine_models``; see ``benchmarks.machine_models.command``."""

import sys

from benchmarks.machine_models.command import main

sys.exit(main())
