"""``python -m benchmarks.recurrent``; see ``benchmarks.recurrent.command``."""

import sys

from benchmarks.recurrent.command import main

sys.exit(main())
