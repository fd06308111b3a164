"""``python -m benchmarks.ablation``; see ``benchmarks.ablation.command``."""

import sys

from benchmarks.ablation.command import main

sys.exit(main())
