"""What people are told who are not looking: a run that failed, a month that is published.

Belongs here: which runs are worth a line, what the line says, who says it. Does not belong here:
why a run failed (failures.py), and posting the line (webhook.py).

The sensors tell of the daemon's runs, from the first time they are evaluated on. A run of a
headless process has its id in a tag, and that process tells of it: nothing is told twice.
"""

import hashlib
import json
import re
from datetime import datetime, timedelta

import dagster as dg

from embedding_assets.clock import utc_now
from embedding_assets.defs.failures import ticks_in_words, why_failed
from embedding_assets.defs.tags import process_of
from embedding_assets.defs.webhook import Alert, post_alert
from embedding_assets.settings.values import Settings

SEARCH_INDEX = dg.AssetKey("search_index")

_KEY = "embedding_assets/alerts"
# One bad key fails many runs in the same words: they are posted once in so many hours.
_QUIET = timedelta(hours=6)
_PER_TICK = 5
# A publication that could not be told of for so long is old news.
_GIVE_UP_AFTER = timedelta(hours=6)

# What a job without a name of its own is called when assets are materialized from the UI.
_ASSET_JOB = "__ASSET_JOB"
_PARTITION_TAGS = (
    ("dagster/partition", "dagster/partition"),
    ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"),
)


def build_alert_sensors() -> list[dg.SensorDefinition]:
    """The two sensors that tell, on by default."""
    return [
        dg.run_failure_sensor(
            name="failed_run_alert",
            description="Tells of every run that failed, in its log and by alerts.webhook_url.",
            default_status=dg.DefaultSensorStatus.RUNNING,
        )(ticks_in_words(failed_run_alert)),
        dg.sensor(
            name="published_index_alert",
            description="Tells of every month that is published, by alerts.webhook_url, too.",
            default_status=dg.DefaultSensorStatus.RUNNING,
        )(ticks_in_words(published_index_alert)),
    ]


def failed_run_alert(
    context: dg.RunFailureSensorContext, settings: dg.ResourceParam[Settings]
) -> None:
    """One line a failed run. A run that was cancelled did not fail: Dagster tells them apart."""
    run = context.dagster_run
    if process_of(run.tags) is not None:
        return
    why = why_failed(context.instance, run).told
    context.log.info(failure_alert(run, why).line)
    problem = tell_failure(context.instance, run, why, settings, now=utc_now())
    if problem is not None:
        context.log.warning(problem)


def published_index_alert(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.SensorResult:
    """One line a publication. What was published before the first tick is known already.

    It looks for materializations, not for runs of publish_index: the button in the UI makes runs
    of another name, and a run may find nothing to publish. What cannot be delivered is tried again
    at every tick for some hours, and what came after it waits.
    """
    told_up_to = context.cursor or ""
    if not told_up_to.isdecimal():  # none yet, or what a person set in the web UI
        newest = context.instance.fetch_materializations(SEARCH_INDEX, limit=1).records
        cursor = str(newest[0].storage_id if newest else 0)
        return dg.SensorResult(cursor=cursor, skip_reason="tells of what is published from now on")
    found = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=SEARCH_INDEX, after_storage_id=int(told_up_to)),
        limit=_PER_TICK,
        ascending=True,
    ).records
    cursor = told_up_to
    told: list[str] = []
    for record in found:
        alert = _publication_of(context.instance, record)
        if alert is not None:
            told.append(alert.line)
            context.log.info(alert.line)
            if not _is_settled(context, alert, record, settings):
                break
        cursor = str(record.storage_id)
    reason = "; ".join(told) or "nothing was published since the last look"
    return dg.SensorResult(cursor=cursor, skip_reason=reason)


def _publication_of(instance: dg.DagsterInstance, record: dg.EventLogRecord) -> Alert | None:
    """The line to tell; none if the process that published told it."""
    run = instance.get_run_by_id(record.run_id)
    event = record.asset_materialization
    if run is None or process_of(run.tags) is not None or event is None:
        return None
    return publication_alert(event)


def _is_settled(
    context: dg.SensorEvaluationContext,
    alert: Alert,
    record: dg.EventLogRecord,
    settings: Settings,
) -> bool:
    """Whether it was delivered, or has been tried for so long that it is given up."""
    problem = tell(alert, settings)
    if problem is None:
        return True
    is_old = utc_now().timestamp() - record.timestamp > _GIVE_UP_AFTER.total_seconds()
    context.log.warning(f"{problem}; {'it is given up' if is_old else 'the next tick tries again'}")
    return is_old


def publication_alert(event: dg.AssetMaterialization) -> Alert:
    """What a materialization of search_index says of itself."""
    summary = event.metadata.get("summary")
    text = f"{event.partition} is published" if summary is None else str(summary.value)
    return Alert.of(f"embedding-assets: {text}")


def failure_alert(run: dg.DagsterRun, why: str) -> Alert:
    """Which job, what of it, why, and where to go on."""
    name = "materialization from the UI" if run.job_name == _ASSET_JOB else run.job_name
    return Alert.of(
        f"embedding-assets: {name}{_partitions(run)} failed: {why.rstrip('.')}. Next: its run in "
        f"the web UI, {run.run_id}"
    )


def _partitions(run: dg.DagsterRun) -> str:
    for first, last in _PARTITION_TAGS:
        if first in run.tags:
            ends = dict.fromkeys((run.tags[first], run.tags[last]))
            return f" of {'..'.join(ends)}"
    return ""


def tell_failure(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    why: str,
    settings: Settings,
    *,
    now: datetime,
) -> str | None:
    """Post it, unless the same was posted some hours ago; why it could not be delivered."""
    if not settings.alerts.webhook_url.get_secret_value():
        return None
    told = _told(instance, now)
    words = _words(run.job_name, why)
    if words in told:
        return None
    problem = tell(failure_alert(run, why), settings)
    if problem is None:
        told[words] = now
        values = {key: at.isoformat() for key, at in told.items()}
        instance.daemon_cursor_storage.set_cursor_values({_KEY: json.dumps(values)})
    return problem


def _words(job_name: str, message: str) -> str:
    """The same for messages that only differ in numbers and names of shards, jobs and files."""
    # "1 shard" and "5 shards" are the same, too: what was counted goes with its number.
    uncounted = re.sub(r"(?<!\S)[0-9][0-9,.]*\s+\S+", "", message)
    plain = [word for word in uncounted.split() if not re.search(r"[0-9/]", word)]
    return hashlib.sha256(" ".join([job_name, *plain]).encode()).hexdigest()[:16]


def _told(instance: dg.DagsterInstance, now: datetime) -> dict[str, datetime]:
    text = instance.daemon_cursor_storage.get_cursor_values({_KEY}).get(_KEY)
    known: dict[str, str] = json.loads(text or "{}")
    moments = {words: datetime.fromisoformat(at) for words, at in known.items()}
    return {words: at for words, at in moments.items() if now - at < _QUIET}


def tell(alert: Alert, settings: Settings) -> str | None:
    """Post an alert if there is a webhook; why it could not be delivered."""
    webhook_url = settings.alerts.webhook_url.get_secret_value()
    return post_alert(alert, webhook_url) if webhook_url else None
