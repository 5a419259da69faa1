"""Curves over one axis as a small SVG.  Pure: numbers in, text out; no library, so that a page can be made anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

import attrs

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 40, 45
COLOURS = ("#1f6f8b", "#c05640", "#4f772d", "#7a4988")
STEPS = (1, 2, 5)
TICKS = 6


@attrs.frozen
class Series:
    """One curve: a name and a value per point of the axis."""

    name: str
    values: Sequence[float]


def draw(
    title: str, axis: str, xs: Sequence[float], series: Sequence[Series], *, marks: Mapping[str, float] | None = None
) -> str:
    """The curves over *xs*, from zero; *marks* are named instants on the axis."""
    assert xs, "a curve has points"
    assert all(len(one.values) == len(xs) for one in series), "a value for each point"
    across, up = ceiling(max(xs)), ceiling(max(max(one.values) for one in series))
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(WIDTH / 2, 18, title, "middle"),
        text(WIDTH / 2, HEIGHT - 8, axis, "middle"),
        *grid(across, up),
    ]
    for name, at in (marks or {}).items():
        x = x_of(at, across)
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#888" stroke-dasharray="4 3"/>')
        parts.append(text(x + 4, TOP + 12, name, "start"))
    for number, one in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{x_of(x, across):.1f},{y_of(y, up):.1f}" for x, y in zip(xs, one.values, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        parts.append(text(LEFT + 10 + 200 * number, TOP - 6, f"— {one.name}", "start", colour))
    return "\n".join([*parts, "</svg>", ""])


def grid(across: float, up: float) -> list[str]:
    """Lines and numbers of both axes."""
    parts = []
    for value in ticks(up):
        y = y_of(value, up)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(text(LEFT - 6, y + 4, f"{value:g}", "end"))
    for value in ticks(across):
        parts.append(text(x_of(value, across), HEIGHT - BOTTOM + 16, f"{value:g}", "middle"))
    return parts


def text(x: float, y: float, words: str, anchor: str, colour: str = "#333") -> str:
    """One label."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def x_of(value: float, across: float) -> float:
    """Where *value* lies on the page."""
    return LEFT + (WIDTH - LEFT - RIGHT) * value / across


def y_of(value: float, up: float) -> float:
    """Where *value* lies on the page."""
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / up


def step_of(highest: float) -> float:
    """The round distance of at most TICKS ticks up to *highest*.

    >>> step_of(100), step_of(37), step_of(0.4)
    (20.0, 10.0, 0.1)
    """
    size = 1.0
    while size * STEPS[-1] * TICKS < highest:
        size *= 10
    while size * TICKS >= highest * 10:
        size /= 10
    return next(size * step for step in (*STEPS, 10) if size * step * TICKS >= highest)


def ceiling(highest: float) -> float:
    """The first tick that is not below *highest*."""
    step = step_of(max(highest, 1e-9))
    count = 1
    while step * count < highest:
        count += 1
    return step * count


def ticks(highest: float) -> list[float]:
    """Round values from zero to *highest*, which is one of them."""
    step = step_of(highest)
    return [step * number for number in range(round(highest / step) + 1)]
