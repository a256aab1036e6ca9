"""Counters and gauges that tell an operator how the server fares, in Prometheus' words."""

from typing import Final

from prometheus_client import Counter, Gauge

INITIATES: Final = Counter("qirsh_initiates", "Answers to initiate, by HTTP status.", ["status"])
WEBHOOKS: Final = Counter("qirsh_webhooks", "Facts delivered by PSPs, by verdict.", ["gateway", "verdict"])
WEBHOOKS_REFUSED: Final = Counter(
    "qirsh_webhooks_refused", "Deliveries that were not authentic or not readable.", ["code"]
)
FOLDS: Final = Counter("qirsh_folds", "Events folded into drafts.", ["kind", "source", "verdict"])
REFUNDS: Final = Counter("qirsh_refunds", "Refunds that ended, by gateway and state.", ["gateway", "state"])
FULFILMENTS: Final = Counter("qirsh_fulfilments", "Announcements to the shop.", ["outcome"])
RECONCILIATION_FOLDED: Final = Counter(
    "qirsh_reconciliation_folded", "Differences that the daily reconciliation found and folded in.", ["field"]
)
RECONCILIATION_DIFFERENCES: Final = Gauge(
    "qirsh_reconciliation_differences",
    "What still differed from the PSPs' books after the last daily reconciliation of this process.",
    ["field", "done"],
)
RECONCILED_AT: Final = Gauge(
    "qirsh_reconciled_at",
    "When this process last did the daily reconciliation, in seconds since the epoch: of several, the newest counts.",
)
BREAKERS: Final = Gauge(
    "qirsh_gateway_breaker",
    "1 for the state that a gateway's circuit breaker is in, 0 for the others.",
    ["gateway", "state"],
)
CLOCK_OFFSET: Final = Gauge(
    "qirsh_clock_offset_seconds", "How far `qirsh dev` is ahead of the machine, with the sandbox."
)
