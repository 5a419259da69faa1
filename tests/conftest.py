"""What the whole suite shares: property tests have no wall-clock deadline, because the machine may be busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
