"""The page: whole in one file, the same for the same run, and safe from what a run's payloads say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy_sim.report.page import embedded, page

from tests.sim.report.generated import generated, story

NASTY = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>${x}`&amp;\u2028\u2029\"'\\"
BIG = 5_000
ATTRIBUTES_THAT_LOAD = ("src", "href", "srcset", "action", "data", "poster")


class Reader(HTMLParser):
    """What a browser makes of the page: its elements, and the text of the scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[int, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        index = len(self.elements) - 1
        self.texts[index] = self.texts.get(index, "") + data

    def scripts(self) -> list[tuple[dict[str, str | None], str]]:
        return [(a, self.texts.get(i, "")) for i, (tag, a) in enumerate(self.elements) if tag == "script"]

    def data(self) -> Any:
        return json.loads(next(text for a, text in self.scripts() if a.get("id") == "data"))


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


def test_equal_runs_give_equal_pages() -> None:
    assert page(generated(300), [story()]) == page(generated(300), [story()])


def test_whatever_a_payload_says_is_text() -> None:
    reader = read(page(generated(100, NASTY, name=NASTY), [story(NASTY)], NASTY))
    plain = read(page(generated(100), [story()]))
    assert [tag for tag, _ in reader.elements] == [tag for tag, _ in plain.elements]
    assert [text for a, text in reader.scripts() if "id" not in a] == [t for a, t in plain.scripts() if "id" not in a]
    found = reader.data()
    assert found["scenario"] == NASTY
    assert found["line"] == NASTY
    assert found["stories"][0]["operation"] == NASTY
    assert any(NASTY in event[6] for event in found["events"])


@settings(max_examples=200)
@given(st.text())
def test_data_never_leads_out_of_its_block(text: str) -> None:
    block = embedded([text])
    assert not set("<>&\u2028\u2029") & set(block)
    assert json.loads(block) == [text]


def test_nothing_is_loaded() -> None:
    reader = read(page(generated(100), [story()]))
    for tag, attributes in reader.elements:
        for name in ATTRIBUTES_THAT_LOAD:
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    assert "default-src 'none'" in page(generated(10), [])
    style = files("understudy_sim.report").joinpath("report.css").read_text(encoding="utf-8")
    assert "@import" not in style
    assert "url(" not in style


def test_the_script_makes_no_markup_of_data() -> None:
    script = files("understudy_sim.report").joinpath("report.js").read_text(encoding="utf-8")
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "fetch("):
        assert name not in script, name
    assert "</script" not in script


def test_every_element_the_script_asks_for_is_in_the_page() -> None:
    script = files("understudy_sim.report").joinpath("report.js").read_text(encoding="utf-8")
    ids = {attributes["id"] for _, attributes in read(page(generated(10), [])).elements if "id" in attributes}
    assert set(re.findall(r'byId\("([^"]+)"\)', script)) <= ids
    controls = [a for tag, a in read(page(generated(10), [])).elements if tag in ("button", "input", "canvas")]
    assert all(a.get("aria-label") or a.get("title") or a.get("id") == "compress" for a in controls)


def test_every_kind_of_event_has_a_group() -> None:
    from understudy_sim.stage.chronicle import KINDS

    script = files("understudy_sim.report").joinpath("report.js").read_text(encoding="utf-8")
    groups = script[script.index("const GROUPS") : script.index("const groupOfKind")]
    assert [kind for kind in KINDS if f'"{kind}"' not in groups] == []


def test_five_thousand_events_fit() -> None:
    text = page(generated(BIG), [story()])
    found = read(text).data()
    assert len(found["events"]) >= BIG
    assert len(text) < 200 * BIG
    for kind, lane, begin_ns, end_ns, *_ in found["bars"]:
        assert begin_ns <= end_ns, kind
        assert kind == "status" or 0 <= lane < len(found["processes"])
    for _, begin_ns, end_ns, *_ in found["locks"]:
        assert begin_ns <= end_ns
    for _, on, begin_ns, end_ns, *_ in found["faults"]:
        assert begin_ns <= end_ns
        assert on


@pytest.mark.skipif(shutil.which("node") is None, reason="node reads the script; without it a browser does")
def test_the_script_is_read_by_node() -> None:
    name = str(files("understudy_sim.report").joinpath("report.js"))
    done = subprocess.run(["node", "--check", name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
