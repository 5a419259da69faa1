"""Every setting of the server as one table: its key, its kind, its default, where it goes, what it does.

The keys are Restate's where the thing is the same; NOT_OURS says why the others are refused.  How the table is read
from flags, environment and file is `settings.py`; what becomes of it, `configuration.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import attrs

from understudy_runtime.cli import kinds
from understudy_runtime.cli.filters import LogFilter
from understudy_runtime.cli.kinds import Kind
from understudy_runtime.limits import Limits
from understudy_runtime.model.invocation import RetryPolicy
from understudy_runtime.node import PARTITIONS_MAX

MILLION: Final = 1_000_000


@attrs.frozen
class Setting:
    """One row.  `goes` names a field of Limits (`limits.…`), of RetryPolicy (`retry.…`), or of Configuration.

    `short` is a second name of its flag.  `secret` values are never printed.
    """

    key: str
    kind: Kind
    goes: str
    help: str
    fallback: Any = None
    short: str = ""
    secret: bool = False

    @property
    def default(self) -> Any:
        """The value when nobody says otherwise: what the part itself takes to be right."""
        part, _, field = self.goes.partition(".")
        source: Any = {"limits": Limits, "retry": RetryPolicy}.get(part)
        return self.fallback if source is None else getattr(source(), field)

    @property
    def flag(self) -> str:
        return "--" + self.key.replace(".", "-")

    @property
    def section(self) -> str:
        return self.key.rpartition(".")[0]


INVOKER: Final = "worker.invoker."

PLACES: Final = (
    Setting("base-dir", kinds.PATH, "base_dir", "The data folder.", Path("understudy-data"), short="data"),
    Setting("cluster-name", kinds.WORD, "cluster_name", "Told to endpoints as x-restate-cluster-name.", "localcluster"),
    Setting(
        "default-num-partitions",
        kinds.count(1, PARTITIONS_MAX),
        "partitions",
        "How many partitions a new data folder gets (1 unless given); fixed from then on.",
        short="partitions",
    ),
    Setting("bind-ip", kinds.HOST, "bind_ip", "The address of both ports.", "127.0.0.1", short="bind"),
    Setting(
        "allowed-hosts", kinds.HOSTS, "allowed_hosts", "Other names this server is called by.", (), short="allow-host"
    ),
    Setting(
        "snapshot-log-size",
        kinds.size(4 << 10),
        "limits.snapshot_log_bytes",
        "Log bytes after which a snapshot is written and the log before it dropped.",
    ),
    Setting(
        "shutdown-timeout",
        kinds.DURATION,
        "limits.drain_timeout_ms",
        "How long a stopping server waits for what is in flight.",
    ),
)
LOGGING: Final = (
    Setting(
        "log-filter",
        kinds.FILTER,
        "log_filter",
        "The least level, with exceptions by target.",
        LogFilter(),
        short="log-level",
    ),
    Setting(
        "log-format",
        kinds.choice("auto", "pretty", "compact", "json"),
        "log_format",
        "auto: pretty on a terminal, JSON elsewhere.",
        "auto",
    ),
    Setting("log-disable-ansi-codes", kinds.BOOL, "log_plain", "No colours.", False),
)
RETENTION: Final = (
    Setting(
        "default-idempotency-retention",
        kinds.DURATION,
        "limits.completion_retention_ms",
        "How long a result is kept for callers with an idempotency key.",
    ),
    Setting(
        "default-workflow-completion-retention",
        kinds.DURATION,
        "limits.workflow_retention_ms",
        "How long a workflow's result is kept (as the one above unless given).",
    ),
    Setting(
        "default-journal-retention",
        kinds.DURATION,
        "limits.journal_retention_ms",
        "How long the journal of a finished invocation is kept.",
    ),
)
RETRIES: Final = (
    Setting(
        "default-retry-policy.initial-interval",
        kinds.POSITIVE_DURATION,
        "retry.delay_ms_first",
        "Before the first retry.",
    ),
    Setting(
        "default-retry-policy.exponentiation-factor",
        kinds.FACTOR,
        "retry.factor_thousandths",
        "Growth from one to the next.",
    ),
    Setting("default-retry-policy.max-interval", kinds.POSITIVE_DURATION, "retry.delay_ms_max", "Before any retry."),
    Setting(
        "default-retry-policy.max-attempts",
        kinds.count(1, MILLION, unlimited=True),
        "retry.attempts_max",
        "Attempts in all, the first one counted.",
    ),
    Setting(
        "default-retry-policy.on-max-attempts",
        kinds.FATE,
        "retry.on_max_attempts",
        "What becomes of the invocation then.",
    ),
)
INGRESS: Final = (
    Setting("ingress.bind-port", kinds.PORT, "ingress_port", "Where clients call.", 8080, short="ingress-port"),
    Setting("ingress.bind-ip", kinds.HOST, "ingress_ip", "Its address, when not the common one."),
    Setting("ingress.bind-address", kinds.ADDRESS, "ingress_address", "Both in one."),
    Setting("ingress.advertised-address", kinds.URL, "advertised", "What others are told the ingress's URL is."),
    Setting(
        "ingress.concurrent-api-requests-limit",
        kinds.count(1, MILLION),
        "limits.requests_max",
        "Requests in flight; 429 above it.",
    ),
    Setting(
        "ingress.request-size-limit",
        kinds.size(1),
        "limits.request_bytes_max",
        "The largest request body; 413 above it.",
    ),
)
ADMIN: Final = (
    Setting("admin.bind-port", kinds.PORT, "admin_port", "Where operators call.", 9070, short="admin-port"),
    Setting("admin.bind-ip", kinds.HOST, "admin_ip", "Its address, when not the common one."),
    Setting("admin.bind-address", kinds.ADDRESS, "admin_address", "Both in one."),
    Setting("admin.token", kinds.TOKEN, "admin_token", "The bearer token the admin demands.", secret=True),
)
WORKER: Final = (
    Setting(
        "worker.num-timers-in-memory-limit",
        kinds.count(1, MILLION),
        "limits.timers_max",
        "Timers held in memory per partition, the nearest; others are read when due.",
    ),
    Setting(
        "worker.refuse-deadlocks",
        kinds.BOOL,
        "limits.refuse_deadlocks",
        "Refuse a call that closes a circle of invocations waiting for each other.",
    ),
    Setting(
        INVOKER + "inactivity-timeout",
        kinds.DURATION,
        "limits.inactivity_timeout_ms",
        "Silence after which an attempt is asked to suspend.",
    ),
    Setting(
        INVOKER + "abort-timeout",
        kinds.DURATION,
        "limits.abort_timeout_ms",
        "Time after that until it is cut and retried.",
    ),
    Setting(
        INVOKER + "concurrent-invocations-limit",
        kinds.count(1, MILLION),
        "limits.attempts_max",
        "Attempts that run at once, per partition; others wait.",
    ),
    Setting(
        INVOKER + "message-size-limit",
        kinds.size(1),
        "limits.message_bytes_max",
        "The largest protocol message; above it the attempt fails.",
    ),
    Setting(
        INVOKER + "eager-state-size-limit",
        kinds.size(),
        "limits.eager_state_bytes_max",
        "State sent along with a start; the rest is asked for.",
    ),
    Setting(INVOKER + "disable-eager-state", kinds.BOOL, "lazy_state", "Send no state along: as a limit of 0.", False),
    Setting(
        INVOKER + "request-identity-private-key-pem-file",
        kinds.PATH,
        "identity_pem_file",
        "An Ed25519 key that signs requests to endpoints.",
    ),
    Setting(
        INVOKER + "additional-request-headers",
        kinds.HEADERS,
        "request_headers",
        "Sent with every request to endpoints.",
        (),
        secret=True,
    ),
    Setting(
        INVOKER + "connect-timeout",
        kinds.POSITIVE_DURATION,
        "limits.connect_timeout_ms",
        "To open a connection to one.",
    ),
    Setting(
        INVOKER + "http2-keep-alive-interval",
        kinds.POSITIVE_DURATION,
        "limits.h2_ping_interval_ms",
        "Between pings on an HTTP/2 connection.",
    ),
    Setting(
        INVOKER + "http2-keep-alive-timeout",
        kinds.POSITIVE_DURATION,
        "limits.h2_ping_timeout_ms",
        "For the answer to a ping.",
    ),
    Setting(
        INVOKER + "http2-streams-per-connection-limit",
        kinds.count(1, 65_536),
        "limits.h2_streams_max",
        "Streams on one connection; further ones open another.",
    ),
    Setting(
        INVOKER + "http2-idle-connection-timeout",
        kinds.POSITIVE_DURATION,
        "limits.h2_idle_timeout_ms",
        "Without a stream, until a connection is closed.",
    ),
)
SERVER: Final = (*PLACES, *LOGGING, *RETENTION, *RETRIES, *INGRESS, *ADMIN, *WORKER)
HOST: Final = (
    Setting("host.bind-ip", kinds.HOST, "bind_ip", "Its address.", "127.0.0.1", short="bind"),
    Setting("host.bind-port", kinds.PORT, "port", "Where servers call.", 9080, short="port"),
    *(row for row in (*PLACES, *LOGGING) if row.key == "shutdown-timeout" or row in LOGGING),
)
ALL: Final = tuple({row.key: row for row in (*SERVER, *HOST)}.values())

# Another place where the reference still reads a key.
ALIASES: Final = MappingProxyType[str, str](
    {"request-identity-private-key-pem-file": INVOKER + "request-identity-private-key-pem-file"}
)

# Keys of the reference that stop the start, and why; a key ending in a dot stands for all below it.
NOT_OURS: Final = MappingProxyType[str, str](
    {
        "roles": "one process does all of it",
        "node-name": "there is one node; the data lies in base-dir itself",
        "auto-provision": "a data folder is made when there is none",
        "default-replication": "there is one node",
        "bind-address": "there is no node port; set ingress.bind-address and admin.bind-address, or bind-ip for both",
        "bind-port": "there is no node port; set ingress.bind-port and admin.bind-port",
        "advertised-address": "there is no node port; ingress.advertised-address is what clients are told",
        "listen-mode": "the server listens on TCP only",
        "use-random-ports": "give the port 0 to get any",
        "worker.cleanup-interval": "a result goes when its retention ends, there is no scan to space",
        "ingress.kafka-clusters": "there is no Kafka",
        "admin.query-engine.": "there is no SQL",
        "admin.disable-web-ui": "there is no web UI",
        INVOKER + "in-memory-queue-length-limit": "what waits is in the tables, not in a queue",
        INVOKER + "per-invocation-": "memory is bounded by the number of attempts and the size of messages",
        INVOKER + "memory-limit": "memory is bounded by the number of attempts and the size of messages",
        INVOKER + "http-proxy": "endpoints are reached directly",
        "tracing-": "there is no tracing",
        "rocksdb-": "the storage is no RocksDB",
        "metadata-": "there is no metadata store",
        "gossip-": "there is one node",
        "log-server.": "the log is the data folder's own",
        "bifrost.": "the log is the data folder's own",
        "networking.": "there is one node",
        "worker.storage.": "the storage has nothing to set",
        "worker.snapshots.": "snapshots lie in the data folder, and need no settings",
        "experimental-": "there are no experiments to switch on",
        "tls.": "put a proxy that speaks TLS in front",
    }
)


def refused_because(key: str, table: Sequence[tuple[str, str]] = tuple(NOT_OURS.items())) -> str:
    """Why a key of the reference is refused; empty for a key that is nobody's."""
    for name, why in table:
        if key == name or (name[-1] in ".-" and key.startswith(name)):
            return why
    return ""
