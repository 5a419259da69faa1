"""The decorator of value classes: frozen to the type checker, plain slots at run time.

A frozen instance sets each field through a call; that was 7 % of an echo's CPU and 6 % of a step's.  mypy refuses every
assignment to a value either way.  Under `python -X dev` the classes are frozen at run time too.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from attrs import frozen as frozen
elif sys.flags.dev_mode:
    frozen = attrs.frozen
else:

    def frozen(class_: type) -> type:
        """An attrs class with slots, equality and a hash by its fields, which nobody may assign to."""
        return attrs.define(class_, unsafe_hash=True)
