"""The monthly reindex."""

import dagster as dg

from embedding_assets.defs.jobs import REINDEX
from embedding_assets.settings import Settings


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """One run of ``reindex`` for the month in which the schedule fires."""

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

    return [monthly_reindex]
