"""What all tests of the repository share: how long hypothesis searches, chosen by `HYPOTHESIS_PROFILE`."""

import os

from hypothesis import HealthCheck, settings

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}

settings.register_profile("default", max_examples=50, stateful_step_count=25, **_COMMON)
settings.register_profile("quick", max_examples=15, stateful_step_count=15, **_COMMON)
settings.register_profile("stress", max_examples=1000, stateful_step_count=50, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
