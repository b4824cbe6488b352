"""Partitions: months, which the calendar makes, and shards, which a plan makes.

Belongs here: the definitions, registering shards, and cutting shards into ranges for runs.
Does not belong here: what a shard is (model/shards.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import dagster as dg

from embedding_assets.errors import SettingsError
from embedding_assets.model.room import Ledger
from embedding_assets.settings.values import Settings

# One flat dimension: months times shards would make cells that no plan ever fills.
_SHARDS_NAME = "shards"
SHARDS = dg.DynamicPartitionsDefinition(name=_SHARDS_NAME)

# A month's assets and a shard's depend on each other as wholes; a mapping of our own would be
# dropped from what the webserver and the daemon see (dagster issue 30109).
ALL = dg.AllPartitionMapping()

_RANGE_START_TAG = "dagster/asset_partition_range_start"
_RANGE_END_TAG = "dagster/asset_partition_range_end"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRange:
    """Shards that stand next to each other: what one run can take."""

    keys: tuple[str, ...]

    @property
    def tags(self) -> dict[str, str]:
        """The run tags that select this range."""
        return {_RANGE_START_TAG: self.keys[0], _RANGE_END_TAG: self.keys[-1]}

    def __str__(self) -> str:
        return self.keys[0] if len(self.keys) == 1 else f"{self.keys[0]}..{self.keys[-1]}"


def build_months(settings: Settings) -> dg.MonthlyPartitionsDefinition:
    """One partition a month, the current one included, in the schedule's time zone."""
    return dg.MonthlyPartitionsDefinition(
        start_date=settings.schedule.first_month,
        fmt="%Y-%m",
        timezone=settings.schedule.timezone,
        end_offset=1,
    )


def check_month(month: str, settings: Settings, *, what: str) -> None:
    """Raises SettingsError for a month that is no partition; ``what`` it is, for the sentence."""
    known = build_months(settings).get_partition_keys()
    if month not in known:
        raise SettingsError(
            f"{what} {month!r} is not a partition; they run from {known[0]}, which is "
            f"schedule.first_month, to {known[-1]}"
        )


def keep_shards(instance: dg.DagsterInstance, ledger: Ledger) -> list[str]:
    """Bring the partitions up to what the ledger says, and return all, as they were registered.

    Open shards, of a plan, a split or another Dagster home, are partitions; those that will never
    be sent are none any more, instead of missing for ever.
    """
    known = add_shards(instance, [status.shard.key for status in ledger.statuses])
    gone = set(known).intersection(ledger.abandoned_keys)
    _delete(instance, gone)
    return [key for key in known if key not in gone]


def add_shards(instance: dg.DagsterInstance, keys: Iterable[str]) -> list[str]:
    """Have these shards as partitions, and return all, as they were registered."""
    known = instance.get_dynamic_partitions(_SHARDS_NAME)
    registered = set(known)
    new = [key for key in keys if key not in registered]
    if new:
        instance.add_dynamic_partitions(_SHARDS_NAME, new)
    return [*known, *new]


def forget_shards(instance: dg.DagsterInstance, keys: Iterable[str]) -> None:
    """Shards of which only the bill is left are no partitions any more."""
    _delete(instance, set(instance.get_dynamic_partitions(_SHARDS_NAME)).intersection(keys))


def _delete(instance: dg.DagsterInstance, keys: Iterable[str]) -> None:
    for key in keys:
        instance.delete_dynamic_partition(_SHARDS_NAME, key)


def shard_ranges(registered: Iterable[str], keys: Iterable[str]) -> list[ShardRange]:
    """Some of the registered shards as few contiguous ranges, in their order."""
    wanted = set(keys)
    runs = groupby(registered, key=lambda key: key in wanted)
    return [ShardRange(keys=tuple(run)) for is_wanted, run in runs if is_wanted]
