"""How hypothesis searches: freshly by hand, and the same examples every time where CI is set.

No test fails for being slow: how fast a machine is says nothing about the code. Speed is measured in tests/perf.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("anywhere", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("anywhere"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "anywhere")
