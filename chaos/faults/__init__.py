"""Every kind of trouble there is, by its name on the command line and in the table."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from chaos.faults import machines, processes, psps
from chaos.faults.base import Fault
from chaos.system import System

KINDS: Final[Mapping[str, type[Fault]]] = MappingProxyType(
    {
        "server_killed": processes.ServersKilled,
        "worker_killed": processes.WorkersKilled,
        "server_killed_at_step": processes.ServersKilledAtSteps,
        "worker_killed_at_step": processes.WorkersKilledAtSteps,
        "worker_frozen": processes.WorkerFrozen,
        "server_frozen": processes.ServerFrozen,
        "worker_clock_off": processes.WorkerClockOff,
        "psp_resets": psps.PspResets,
        "psp_hangs": psps.PspHangs,
        "psp_answers_lost": psps.AnswersLost,
        "psp_errors": psps.PspErrors,
        "psp_rate_limits": psps.PspRateLimits,
        "psp_slow": psps.PspSlow,
        "webhooks_dropped": psps.WebhooksDropped,
        "webhooks_fivefold": psps.WebhooksFivefold,
        "webhooks_late": psps.WebhooksLate,
        "webhooks_reordered": psps.WebhooksReordered,
        "webhooks_forged": psps.WebhooksForged,
        "webhooks_wrong_amount": psps.WebhooksOfWrongAmounts,
        "database_crashes": machines.DatabaseCrashes,
        "connections_cut": machines.ConnectionsCut,
        "cache_flushed": machines.CacheFlushed,
        "cache_hung": machines.CacheHung,
        "cache_gone": machines.CacheGone,
        "disk_full": machines.DiskFull,
        "shop_refuses": machines.ShopRefuses,
    }
)
NEEDS_CACHE: Final = frozenset({"cache_flushed", "cache_hung", "cache_gone"})
NEEDS_DISK: Final = frozenset({"disk_full"})
EXCLUSIVE: Final = (NEEDS_CACHE, frozenset({"database_crashes", "disk_full"}))
"""Kinds that undo each other: a mix has at most one of each of these."""


def possible(system: System, kinds: Sequence[str]) -> list[str]:
    """Of these kinds, those that this machine can have."""
    without_cache = NEEDS_CACHE if system.cache is None else frozenset[str]()
    without_disk = NEEDS_DISK if system.disk is None else frozenset[str]()
    return [kind for kind in kinds if kind not in without_cache | without_disk]
