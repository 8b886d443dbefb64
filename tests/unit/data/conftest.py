"""Property tests draw the same examples every time and have no deadline: the machine may be busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("emerit", deadline=None, derandomize=True)
settings.load_profile("emerit")
