"""From settings to what the parts are given: ports, folders, limits.  Pure; what does not fit together is refused."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import attrs

from understudy_runtime.cli import kinds
from understudy_runtime.cli.errors import UsageProblem
from understudy_runtime.cli.filters import LogFilter
from understudy_runtime.cli.kinds import Address
from understudy_runtime.cli.settings import Found, Source, Values
from understudy_runtime.cli.table import INVOKER, SERVER
from understudy_runtime.http.guard import is_numeric
from understudy_runtime.limits import Limits
from understudy_runtime.model.invocation import RetryPolicy

CLUSTER_HEADER: Final = "x-restate-cluster-name"
PORTS: Final = ("ingress", "admin")


@attrs.frozen(kw_only=True)
class Logging:
    """Which lines are written, and how."""

    filter: LogFilter
    format: str
    plain: bool


@attrs.frozen(kw_only=True)
class Configuration:
    """What a server is started with."""

    base_dir: Path
    cluster_name: str
    partitions: int | None
    ingress: Address
    admin: Address
    advertised: str | None
    admin_token: str | None
    allowed_hosts: Sequence[str]
    identity_pem_file: Path | None
    request_headers: Sequence[tuple[str, str]]
    logging: Logging
    limits: Limits


def effective(values: Values) -> Values:
    """*values* with one address for each port, and with limits that follow from others.  Raises UsageProblem."""
    settled = dict(values)
    for part in PORTS:
        settled[f"{part}.bind-address"] = address_of(values, part)
        for key in (f"{part}.bind-ip", f"{part}.bind-port"):
            settled.pop(key, None)
    request, message = settled["ingress.request-size-limit"], settled[INVOKER + "message-size-limit"]
    if request.value > message.value:
        if request.source is not Source.DEFAULT:
            raise UsageProblem(
                f"{request.place}: ingress.request-size-limit is {kinds.written_size(request.value)}, above "
                f"{INVOKER}message-size-limit, {kinds.written_size(message.value)}: a request must fit a message"
            )
        settled["ingress.request-size-limit"] = message
    if settled[INVOKER + "disable-eager-state"].value:
        settled[INVOKER + "eager-state-size-limit"] = attrs.evolve(settled[INVOKER + "disable-eager-state"], value=0)
    return settled


def address_of(values: Values, part: str) -> Found:
    """Where a port is bound: its address and its port, each by who says it with most authority."""
    whole = values.get(f"{part}.bind-address")
    port = values[f"{part}.bind-port"]
    ip = values.get(f"{part}.bind-ip") or values["bind-ip"]
    if whole is None:
        return Found(Address(ip.value, port.value), max(ip.source, port.source), port.place)
    for other in (port, values.get(f"{part}.bind-ip")):
        if other is not None and other.source is whole.source:
            raise UsageProblem(f"{whole.place}: it is given together with {other.place}: give one of them")
    number = port.value if port.source > whole.source else whole.value.port
    host = ip.value if ip.source > whole.source else whole.value.host
    return Found(Address(host, number), whole.source, whole.place)


def configuration(values: Values) -> Configuration:
    """What *values* (after `effective`) come to.  Raises UsageProblem for what would not be safe, or not work."""
    fields: dict[str, dict[str, Any]] = {"limits": {}, "retry": {}, "": {}}
    for row in SERVER:
        if row.key in values:
            part, separator, field = row.goes.partition(".")
            fields[part if separator else ""][field if separator else part] = values[row.key].value
    own = fields[""]
    check_admin(own["admin_address"], own.get("admin_token"))
    policy = RetryPolicy(**fields["retry"])
    if policy.delay_ms_first > policy.delay_ms_max:
        raise UsageProblem("default-retry-policy.initial-interval is above default-retry-policy.max-interval")
    cluster = (CLUSTER_HEADER, own["cluster_name"])
    return Configuration(
        base_dir=own["base_dir"],
        cluster_name=own["cluster_name"],
        partitions=own.get("partitions"),
        ingress=own["ingress_address"],
        admin=own["admin_address"],
        advertised=own.get("advertised"),
        admin_token=own.get("admin_token"),
        allowed_hosts=own["allowed_hosts"],
        identity_pem_file=own.get("identity_pem_file"),
        request_headers=(cluster, *(pair for pair in own["request_headers"] if pair[0] != CLUSTER_HEADER)),
        logging=logging_of(values),
        limits=Limits(**fields["limits"], retry_policy=policy),
    )


def check_admin(admin: Address, token: str | None) -> None:
    """Raises UsageProblem when others could reach the admin without a token."""
    is_local = is_numeric(admin.host) and ip_address(admin.host).is_loopback
    if not is_local and not token:
        raise UsageProblem(
            f"bound to {admin.host}, the admin port would be open to others: set --admin-token, or bind 127.0.0.1"
        )


def logging_of(values: Values) -> Logging:
    return Logging(
        filter=values["log-filter"].value,
        format=values["log-format"].value,
        plain=values["log-disable-ansi-codes"].value,
    )
