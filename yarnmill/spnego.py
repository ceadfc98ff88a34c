"""Showing the Kerberos ticket to web servers, for requests (SPNEGO, RFC 4559)."""

from typing import Any

import requests
from requests.auth import AuthBase

from yarnmill import kerberos


class Negotiate(AuthBase):
    """Shows the ticket to a web server that asks for it, and to no other."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """As every authentication of requests."""
        request.register_hook("response", self._answer)  # type: ignore[no-untyped-call]  # as types-requests has it
        return request

    @staticmethod
    def _answer(response: requests.Response, **options: Any) -> requests.Response:  # noqa: ANN401  # as requests sends
        if not kerberos.asks_for_ticket(response.status_code, response.headers.get("WWW-Authenticate")):
            return response
        if "Authorization" in response.request.headers:  # it was shown, and did not convince
            return response
        response.content  # noqa: B018  # read to its end, so that the connection can be used again
        response.close()
        request = response.request.copy()
        request.headers["Authorization"] = kerberos.authorization(response.url)
        again: requests.Response = response.connection.send(request, **options)
        again.history.append(response)
        return again
