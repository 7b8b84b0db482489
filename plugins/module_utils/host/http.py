"""A client for HTTP with a password: Orthanc's REST API and CTP's page."""

from __future__ import annotations

import base64
import json
import secrets
import urllib.error
import urllib.request
from typing import Any

REQUEST_SECONDS = 20


class ClientError(RuntimeError):
    """A service or a program did not do what it was asked; the text is for the operator.

    Args:
        problem: what happened.
        remedy: what to do, where that does not depend on what was to be looked at.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.remedy = remedy


class Http:
    """A web server with basic authentication, asked without any proxy.

    Args:
        url: such as ``http://127.0.0.1:8042``.
        user: user name.
        password: password.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url.rstrip("/")
        self.user = user
        self.password = password
        # The proxies of the environment are for the way out of the hospital, not to a neighbour.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        password: str | None = "",
    ) -> tuple[int, bytes]:
        """Send a request and return status and content.

        Args:
            method: GET, POST or DELETE.
            path: below the URL.
            body: sent as JSON where it is not None.
            password: instead of the right one; None sends no credentials at all.

        Raises:
            ClientError: no answer.
        """
        request = urllib.request.Request(self.url + path, method=method)
        if password is not None:
            login = f"{self.user}:{password or self.password}".encode()
            request.add_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with self._opener.open(request, timeout=REQUEST_SECONDS) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ClientError(
                f"{self.url} does not answer: {reason}",
                "Nothing can be said before it answers. Check whether the service runs (docker"
                " service ls), its log, and whether the firewall lets this machine in.",
            ) from error

    def get(self, path: str) -> bytes:
        """Return the content of a page.

        Raises:
            ClientError: no answer, or another status than 200.
        """
        status, content = self.send("GET", path)
        if status != 200:
            raise ClientError(f"{self.url}{path} answered with status {status}")
        return content

    def get_json(self, path: str) -> Any:
        """Return a JSON document.

        Raises:
            ClientError: no answer, another status than 200, or no JSON.
        """
        content = self.get(path)
        try:
            return json.loads(content)
        except ValueError as error:
            raise ClientError(
                f"{self.url}{path} answered with something that is no JSON"
            ) from error

    def login_problems(self, path: str) -> list[str]:
        """Try a wrong password and none at all; return what was not refused with 401.

        Raises:
            ClientError: no answer.
        """
        problems = []
        for what, password in (
            ("a wrong password", secrets.token_urlsafe(16)),
            ("no password", None),
        ):
            status, _ = self.send("GET", path, password=password)
            if status != 401:
                problems.append(f"{what} was answered with status {status} instead of 401")
        return problems
