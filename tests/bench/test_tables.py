"""The tables: ratios are taken within a round, and every figure lands in its cell."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from tests.bench.plot import Series, draw
from tests.bench.run_rows import windows_of
from tests.bench.tables import cpu_table, rates_table, ratios, ratios_table, spread


def window(rate: float, **more: Any) -> dict[str, Any]:
    usage = {"cores": {"server": 0.5, "loadgen": 0.1}, "cores_others": 0.25, "rss_mib": {"server": 40.0}}
    figures = {
        "ops_per_s": rate,
        "latency_ms": {"p50": 1.25, "p99": 9.5},
        "cpu_us_per_op": {"server": 123.4, "loadgen": 7.0},
        "usage": usage,
        "errors": 0,
        "stuck_clients": 0,
        "calibration_ms": 5.0,
        "disturbed": False,
    }
    return {**figures, **more}


def test_ratios_are_taken_round_by_round() -> None:
    found = {"real": [window(100), window(10)], "dev": [window(500), window(80)]}
    assert ratios(found, "dev", "real") == [5.0, 8.0]


def test_a_round_without_any_answer_gives_no_ratio() -> None:
    assert ratios({"real": [window(0)], "dev": [window(5)]}, "dev", "real") == []


def test_the_table_of_ratios_names_the_base_and_counts_the_disturbed() -> None:
    found = {"echo@8": {"real": [window(100)], "dev": [window(450, disturbed=True)]}}
    head, _, line = ratios_table(found, ["real", "dev"]).splitlines()
    assert "dev : real" in head
    assert line == "| echo@8 | 4.5 | 1.2 / 1.2 | 1 of 2 |"


def test_the_table_of_cpu_adds_the_processes_of_a_row_up() -> None:
    used = {"server": 300.0, "sdk": 200.0, "loadgen": 9.0}
    found = {"echo@8": {"real": [window(1, cpu_us_per_op=used)], "dev": [window(1)]}}
    *_, line = cpu_table(found, ["real", "dev"]).splitlines()
    assert line == "| echo@8 | 500 | 123 | 4.1 |"


def test_the_table_of_rates_leaves_the_load_generator_out() -> None:
    found = {"echo@8": {"dev": [window(100), window(300), window(200, errors=2)]}}
    *_, line = rates_table(found, "dev").splitlines()
    assert line == "| echo@8 | 200 (100–300) | 1.2 | 9.5 | 123 | 0.50 | 0.25 | 40 | 2 | 5.0 |"


@pytest.mark.parametrize(("values", "text"), [([3.0], "3"), ([1.0, 3.0, 2.0], "2 (1–3)")])
def test_spread(values: list[float], text: str) -> None:
    assert spread(values) == text


def test_windows_are_chosen_by_workload_or_by_name() -> None:
    assert windows_of("echo@8,steps10") == ["echo@8", "steps10@1", "steps10@8", "steps10@64"]
    assert len(windows_of("")) == 18
    with pytest.raises(SystemExit, match="no workload is called 'ecko'"):
        windows_of("ecko@8")


def test_a_picture_is_well_formed_and_stays_on_its_page() -> None:
    picture = draw("a < b", "seconds", [0, 5, 61.5], [Series("x", [1, 40, 3]), Series("y", [0, 0, 0])], marks={"k": 5})
    root = ElementTree.fromstring(picture)
    lines = [element for element in root if element.tag.endswith("polyline")]
    points = [pair.split(",") for line in lines for pair in line.attrib["points"].split()]
    assert len(points) == 6
    assert all(60 <= float(x) <= 700 and 40 <= float(y) <= 275 for x, y in points)
