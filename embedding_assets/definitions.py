"""The Dagster code location. ``defs`` is what ``dagster`` and ``dg`` load.

Belongs here: putting the parts together. Does not belong here: any of the parts (defs/).
"""

import dagster as dg

from embedding_assets.defs.alerts import build_alert_sensors
from embedding_assets.defs.asset_checks import ASSET_CHECKS
from embedding_assets.defs.collection import build_embeddings
from embedding_assets.defs.jobs import JOBS
from embedding_assets.defs.monthly_assets import build_monthly_assets
from embedding_assets.defs.resources import build_resources
from embedding_assets.defs.schedules import build_schedules
from embedding_assets.defs.search_index import build_search_index
from embedding_assets.defs.sensors import build_sensors
from embedding_assets.defs.shard_assets import build_submission
from embedding_assets.settings.reading import load_settings
from embedding_assets.settings.values import Settings


def build_definitions(settings: Settings) -> dg.Definitions:
    """Everything Dagster has to know, for these settings."""
    return dg.Definitions(
        assets=[
            *build_monthly_assets(settings),
            build_submission(settings),
            build_embeddings(settings),
            build_search_index(settings),
        ],
        asset_checks=ASSET_CHECKS,
        jobs=JOBS,
        schedules=build_schedules(settings),
        sensors=[*build_sensors(settings), *build_alert_sensors()],
        resources=build_resources(settings),
        # A run is short and a shard is milliseconds: a process for every step would cost more.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The code location: read when Dagster loads it, not when this module is imported."""
    return build_definitions(load_settings())
