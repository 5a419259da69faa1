"""The console script `understudy`: hands over to the server's command line, or says how to get it."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def main() -> int:
    """Run the command line.  Exits with 2 when the server is not installed."""
    try:
        cli: Any = import_module("understudy_runtime.cli.main")
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"understudy: only the SDK is installed ({error.name} is missing).\n"
            "The server, the simulator and this command come with: pip install 'understudy[all]'\n"
        )
        return 2
    result = cli.main()
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
