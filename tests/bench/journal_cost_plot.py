"""Curves over two logarithmic axes as a small SVG: a straight line is a power, its slope the exponent.  Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.bench.plot import BOTTOM, COLOURS, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Series, text


def draw_log(title: str, axis: str, xs: Sequence[float], series: Sequence[Series]) -> str:
    """The curves over *xs*; all numbers are above zero."""
    assert all(len(one.values) == len(xs) for one in series), "a value for each point"
    across = decades(xs)
    up = decades([value for one in series for value in one.values])
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(WIDTH / 2, 18, title, "middle"),
        text(WIDTH / 2, HEIGHT - 8, axis, "middle"),
    ]
    for power in range(up[0], up[1] + 1):
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share(10.0**power, up)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(text(LEFT - 6, y + 4, f"{10.0**power:g}", "end"))
    for x in xs:
        parts.append(text(across_of(x, across), HEIGHT - BOTTOM + 16, f"{x:g}", "middle"))
    for number, one in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        points = [
            (across_of(x, across), HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share(y, up))
            for x, y in zip(xs, one.values, strict=True)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(text(LEFT + 10, TOP + 14 + 16 * number, f"— {one.name}", "start", colour))
    return "\n".join([*parts, "</svg>", ""])


def decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around *values*.

    >>> decades([3, 250])
    (0, 3)
    """
    assert min(values) > 0, "a logarithm has no place for zero"
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def share(value: float, powers: tuple[int, int]) -> float:
    """How far *value* lies from the lower power to the higher."""
    return (math.log10(value) - powers[0]) / (powers[1] - powers[0])


def across_of(value: float, powers: tuple[int, int]) -> float:
    """Where *value* lies on the page."""
    return LEFT + 30 + (WIDTH - LEFT - RIGHT - 60) * share(value, powers)
