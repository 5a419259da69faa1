"""The console script without a server beside it."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_SERVER = """
import sys
sys.modules["understudy_runtime"] = None
from understudy.__main__ import main
sys.exit(main())
"""


def test_it_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SERVER], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "pip install 'understudy[all]'" in done.stderr


IMPORTS = """
import sys
import understudy
heavy = {"trio", "asyncio", "cattrs", "pydantic", "msgspec", "httptools", "hypothesis", "understudy_runtime"}
print(sorted(heavy & set(sys.modules)))
"""


def test_the_sdk_imports_light() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
