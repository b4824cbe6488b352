"""The four jobs: what the schedule, the sensors and people launch.

Belongs here: which assets a job materializes. Does not belong here: when it runs (schedules.py,
sensors.py).
"""

import dagster as dg

REINDEX = dg.define_asset_job(
    "reindex",
    selection=dg.AssetSelection.assets("documents", "chunks", "shard_plan"),
    description="Take a month's snapshot, split it, plan what is missing. Sensors do the rest.",
)
SUBMIT_SHARDS = dg.define_asset_job(
    "submit_shards",
    selection=dg.AssetSelection.assets("request_shards", "batch_jobs"),
    description="Write shards' files and create their batch jobs; live or answered ones stay.",
)
COLLECT_EMBEDDINGS = dg.define_asset_job(
    "collect_embeddings",
    selection=dg.AssetSelection.assets("embeddings"),
    description="Bring finished jobs' results into the index.",
)
PUBLISH_INDEX = dg.define_asset_job(
    "publish_index",
    selection=dg.AssetSelection.assets("search_index"),
    description="Publish the month's generation if it is complete, and check what readers see.",
)
JOBS = [REINDEX, SUBMIT_SHARDS, COLLECT_EMBEDDINGS, PUBLISH_INDEX]
