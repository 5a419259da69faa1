"""What the services are told by the environment of their process."""

from __future__ import annotations

import os

# Whether attempts are sent no state along and have to ask for each key; None leaves it to the server.
LAZY_STATE = True if os.environ.get("INTEROP_LAZY_STATE") else None
