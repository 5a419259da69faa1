"""Large pages change nothing but speed, and touch whole pages of this process alone."""

from __future__ import annotations

import sys

import pytest
from understudy_sim.stage import large_pages


@pytest.mark.skipif(sys.platform != "linux", reason="madvise is Linux's")
def test_ranges_are_whole_large_pages_of_what_is_mapped() -> None:
    with open("/proc/self/maps", encoding="utf-8") as maps:
        mapped = [tuple(int(text, 16) for text in line.split()[0].split("-")) for line in maps]
    found = list(large_pages._ranges())
    assert found, "an interpreter with its tests loaded has a large page of memory"
    for start, end in found:
        assert start % large_pages.PAGE_BYTES == end % large_pages.PAGE_BYTES == 0
        assert any(low <= start < end <= high for low, high in mapped)


def test_what_is_in_memory_stays_what_it_was() -> None:
    before = [str(number) * 40 for number in range(100_000)]
    large_pages.use_large_pages()
    assert before == [str(number) * 40 for number in range(100_000)]
