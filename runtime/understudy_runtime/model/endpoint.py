"""Where an endpoint is and how it is spoken to: what a registration fixes and a transport needs.  A value, no more."""

from __future__ import annotations

import attrs

from understudy_runtime.model.fields import numbered


@attrs.frozen(kw_only=True)
class Endpoint:
    """A deployment's address.

    `uri` is absolute (`http://host:port/prefix`); empty for services of this process.  HTTP/2 with prior knowledge
    unless `use_http_11`.  `bidirectional` is the manifest's protocol mode: without it (and over HTTP/1.1) a request is
    closed before its answer is read.  `additional_headers` go with every request, `metadata` goes nowhere.
    """

    uri: str = numbered(1, default="")
    use_http_11: bool = numbered(2, default=False)
    bidirectional: bool = numbered(3, default=True)
    additional_headers: tuple[tuple[str, str], ...] = numbered(4, default=())
    metadata: tuple[tuple[str, str], ...] = numbered(5, default=())
