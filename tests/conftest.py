"""What the whole suite shares: property tests have no wall-clock deadline, because the machine may be busy."""

from __future__ import annotations

from hypothesis import settings

# Scripts that tests rehearse are no tests of their own: some break on purpose.
collect_ignore_glob = ["*_app.py", "*/unsteady.py", "*/tiny.py"]

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
