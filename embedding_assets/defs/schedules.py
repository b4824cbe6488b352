"""The monthly reindex."""

import dagster as dg

from embedding_assets.defs.jobs import REINDEX
from embedding_assets.errors import SettingsError
from embedding_assets.settings import Settings


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
    @dg.schedule(
        name="monthly_reindex",
        job=REINDEX,
        cron_schedule=settings.schedule.cron,
        execution_timezone=settings.schedule.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Reindex the corpus as this month's partition.",
    )
    def monthly_reindex(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        month = context.scheduled_execution_time.strftime("%Y-%m")
        return dg.RunRequest(run_key=f"reindex:{month}", partition_key=month)

    return monthly_reindex
