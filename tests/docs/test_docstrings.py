"""Examples in docstrings run."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.tidy.sources import Source, product_sources

WITH_EXAMPLES = [source for source in product_sources() if ">>> " in source.text]


@pytest.mark.parametrize("source", WITH_EXAMPLES, ids=lambda source: source.module)
def test_docstring_examples(source: Source) -> None:
    results = doctest.testmod(importlib.import_module(source.module), optionflags=doctest.ELLIPSIS)
    assert results.attempted
    assert not results.failed
