"""Dagster's web UI for the person at this machine, as a program that `embedding-assets ui` runs.

Belongs here: Dagster's own server behind the guard of loopback.py, and what that guard cannot know
of Dagster. Does not belong here: starting and ending the process (cli/processes.py).
"""

import argparse
import os
from collections.abc import Collection, Sequence
from typing import Any

import dagster as dg
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._utils.interrupts import setup_interrupt_handlers
from dagster._utils.log import configure_loggers
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from embedding_assets.loopback import OwnHostOnly

# As the program `dagster-webserver` has them (1.13).
_STATEMENT_TIMEOUT_MS = 15_000
_POOL_RECYCLE_S = 3600
_POOL_MAX_OVERFLOW = 20
_LIVE_DATA_POLL_MS = 2000


class _Webserver(DagsterWebserver[WorkspaceProcessContext, Any]):
    """Dagster's, without what a page elsewhere could use though no browser tells on it."""

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """An image's address can ask for a mutation; only its body makes a request one's own.

        Over plain HTTP to another machine browsers do not say where such a request comes from.
        """
        if "mutation" in request.query_params.get("query", ""):
            return PlainTextResponse("a mutation belongs in a JSON body, by POST", 405)
        response: Response = await super().graphql_http_endpoint(request)
        return response

    def make_security_headers(self) -> dict[str, str]:
        """No page elsewhere may show this one in a frame, for a person to click in."""
        return {**super().make_security_headers(), "X-Frame-Options": "SAMEORIGIN"}


def build_app(context: WorkspaceProcessContext, *, names: Collection[str]) -> ASGIApp:
    """Dagster's application, for requests to these names and from its own pages."""
    app = _Webserver(context, live_data_poll_rate=_LIVE_DATA_POLL_MS).create_asgi_app()
    return OwnHostOnly(app, names)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM, with the instance that DAGSTER_HOME names."""
    arguments = _parser().parse_args(argv)
    configure_loggers(log_level="INFO")
    setup_interrupt_handlers()
    target = ModuleTarget(arguments.module, None, os.getcwd(), None)
    with dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(_STATEMENT_TIMEOUT_MS, _POOL_RECYCLE_S, _POOL_MAX_OVERFLOW)
        with WorkspaceProcessContext(instance, target, version=__version__) as context:
            app = build_app(context, names=[arguments.host, *arguments.allow_host])
            uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m embedding_assets.defs.webserver")
    parser.add_argument("--module", required=True, help="the code location")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--allow-host", action="append", default=[], metavar="NAME")
    return parser


if __name__ == "__main__":
    main()
