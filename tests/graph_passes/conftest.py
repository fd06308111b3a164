"""How many random networks the graph passes are tested on: few in every run, 2,000 when asked to be thorough.

``pytest tests/graph_passes --hypothesis-profile=thorough``: without the folder, pytest reads this file too late.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "thorough",
    max_examples=2000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
