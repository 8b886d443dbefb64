from __future__ import annotations

from hypothesis import settings

# The same examples on every run, and no time limit for each: the machine may be busy.
settings.register_profile("emerit", deadline=None, derandomize=True)
settings.load_profile("emerit")
