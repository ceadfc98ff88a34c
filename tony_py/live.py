"""A running application asked itself: the driver's status, through YARN's proxy."""

from typing import Final

import requests

from tony_py.driver.pages import STATUS_ROUTE
from tony_py.page.document import STATUS_NAME
from tony_py.status import RunStatus
from yarnmill import yarn
from yarnmill.errors import BadDataError
from yarnmill.records import parse_json

_PAGES: Final = "pages"


def page_url(tracking_url: str) -> str:
    """Return the address of the status page below an application's tracking URL."""
    return f"{tracking_url.rstrip('/')}/{_PAGES}/{STATUS_ROUTE}/"


def live_status(application: yarn.ApplicationStatus) -> RunStatus | None:
    """Return how a running application says it is; None if it has no page, or cannot be reached there."""
    if application.state != "RUNNING" or not application.tracking_url.startswith("http"):
        return None
    url = f"{page_url(application.tracking_url)}{STATUS_NAME}"
    try:
        answer = yarn.fetch(url)
        return parse_json(answer.content, RunStatus, source=url) if answer.ok else None
    except (requests.RequestException, BadDataError):  # it starts or ends just now, or is of another version
        return None
