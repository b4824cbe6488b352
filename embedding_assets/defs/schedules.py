"""The monthly reindex.

Belongs here: when it starts, and of which month it is. Does not belong here: what it does
(jobs.py).
"""

import dagster as dg

from embedding_assets.defs.jobs import REINDEX
from embedding_assets.errors import SettingsError
from embedding_assets.settings.values import Settings


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """One run of ``reindex`` for the month in which the schedule fires.

    Raises SettingsError for a cron expression that Dagster does not understand.
    """
    try:
        return [_monthly_reindex(settings)]
    except dg.DagsterInvalidDefinitionError as exc:
        raise SettingsError(
            f"schedule.cron: expected minute, hour, day, month and weekday, like '0 3 1 * *' "
            f"(found {settings.schedule.cron!r})"
        ) from exc


def _monthly_reindex(settings: Settings) -> dg.ScheduleDefinition:
    # Not made from the partitions of the job: after a downtime those would be caught up one by
    # one, each with the corpus of today. Of this one Dagster runs the latest missed tick.
    @dg.schedule(
        name="monthly_reindex",
        job=REINDEX,
        cron_schedule=settings.schedule.cron,
        execution_timezone=settings.schedule.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=(
            "Reindexes the corpus as the month in which it fires; sensors submit, poll, collect "
            "and publish what is new. schedule.cron and schedule.timezone say when. What was "
            "missed while the daemon was down is caught up by one run."
        ),
    )
    def monthly_reindex(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        at = context.scheduled_execution_time
        month = at.strftime("%Y-%m")
        if month < settings.schedule.first_month:
            return dg.SkipReason(
                f"{month} is before schedule.first_month, {settings.schedule.first_month}"
            )
        # The time, not the month: every firing reindexes, and none of them twice.
        return dg.RunRequest(run_key=f"reindex:{at.isoformat()}", partition_key=month)

    return monthly_reindex
