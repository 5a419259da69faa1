"""The endpoint builder: what it puts together and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from understudy import Endpoint, Service, VirtualObject
from understudy.identity import Unidentified

KEY = "publickeyv1_w7YHemBctH5Ck2nQRQ47iBBqhNHy4FV7t2Usbye2A6f"


def test_services_are_bound_in_order() -> None:
    first, second, third = Service("First"), VirtualObject("Second"), Service("Third")
    application = Endpoint().bind(first, second).bind(third).app()
    assert [service["name"] for service in application.manifest()["services"]] == ["First", "Second", "Third"]


@pytest.mark.parametrize(
    ("choose", "modes"),
    [
        (lambda endpoint: endpoint, ("BIDI_STREAM", "REQUEST_RESPONSE")),
        (Endpoint.streaming_protocol, ("BIDI_STREAM", "BIDI_STREAM")),
        (Endpoint.request_response_protocol, ("REQUEST_RESPONSE", "REQUEST_RESPONSE")),
    ],
)
def test_the_protocol_told(choose: Callable[[Endpoint], Endpoint], modes: tuple[str, str]) -> None:
    application = choose(Endpoint().bind(Service("S"))).app()
    told = tuple(application.manifest(over_http1=over_http1)["protocolMode"] for over_http1 in (False, True))
    assert told == modes


def test_a_second_service_of_a_name_is_refused_and_nothing_is_bound() -> None:
    endpoint = Endpoint().bind(Service("Once"))
    with pytest.raises(ValueError, match="two services are named 'Once'"):
        endpoint.bind(Service("Other"), VirtualObject("Once"))
    assert list(endpoint.app().services) == ["Once"]


def test_what_is_no_service_is_refused() -> None:
    nonsense: Any = object()
    with pytest.raises(TypeError, match="no Service"):
        Endpoint().bind(nonsense)


def test_identity_keys_are_checked_and_kept() -> None:
    application = Endpoint().bind(Service("S")).identity_key(KEY).app()
    with pytest.raises(Unidentified):
        application.verifier.check({}, "/discover", 0)
    with pytest.raises(ValueError, match="publickeyv1"):
        Endpoint().identity_key("nonsense").app()


def test_an_app_does_not_grow_with_its_builder() -> None:
    endpoint = Endpoint().bind(Service("First"))
    application = endpoint.app()
    endpoint.bind(Service("Second"))
    assert list(application.services) == ["First"]
