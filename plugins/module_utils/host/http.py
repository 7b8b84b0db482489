"""A client for HTTP and HTTPS with a password: Orthanc's REST API and CTP's page.

Who asks a page of the node does so with this, so that certificates are checked in one place.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, TypeVar

REQUEST_SECONDS = 20

HttpOrHeir = TypeVar("HttpOrHeir", bound="Http")

#: The option ``trust`` of a module that asks a page; roles have it in __auscat_trust.
TRUST_OPTION: dict[str, Any] = {
    "type": "dict",
    "default": {},
    "options": {
        "ca_file": {"type": "str", "default": ""},
        "name": {"type": "str", "default": ""},
    },
}


class ClientError(RuntimeError):
    """A service or a program did not do what it was asked; the text is for the operator.

    Args:
        problem: what happened.
        remedy: what to do, where that does not depend on what was to be looked at.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.remedy = remedy


class _Context(ssl.SSLContext):
    """Checks that a certificate is for a name, whatever stands in the URL."""

    name = ""

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """See the class above this one in the standard library."""
        if self.name:
            options["server_hostname"] = self.name
        return super().wrap_socket(*args, **options)


def trusting(trust: Mapping[str, str]) -> ssl.SSLContext:
    """Return what checks the certificate of a server.

    Args:
        trust: ``ca_file``, the CAs in PEM (empty: those of the system), and ``name``, for which the
            certificate has to be (empty: the one in the URL).

    Raises:
        OSError: the file cannot be read, or is none of certificates.
    """
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.name = trust.get("name") or ""
    if trust.get("ca_file"):
        context.load_verify_locations(cafile=trust["ca_file"])
    else:
        context.load_default_certs()
    return context


class Http:
    """A web server with basic authentication, asked without any proxy.

    Args:
        url: such as ``https://127.0.0.1:8042``.
        user: user name.
        password: password.
        trust: as `trusting` takes it.
    """

    def __init__(
        self, url: str, user: str, password: str, trust: Mapping[str, str] | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self.user = user
        self.password = password
        self.trust = trust
        # Made when it is needed: a file that is missing is told as no answer is.
        self._opener: urllib.request.OpenerDirector | None = None

    @classmethod
    def of(cls: type[HttpOrHeir], parameters: Mapping[str, Any]) -> HttpOrHeir:
        """Return the one that a module's options url, user, password and trust name."""
        return cls(*(parameters[name] for name in ("url", "user", "password", "trust")))

    def _open(self, request: urllib.request.Request, seconds: float) -> Any:
        if self._opener is None:
            # The proxies of the environment are for the way out, not to a neighbour.
            handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
            if self.url.startswith("https:"):
                context = trusting(self.trust or {})
                handlers.append(urllib.request.HTTPSHandler(context=context))
            self._opener = urllib.request.build_opener(*handlers)
        return self._opener.open(request, timeout=seconds)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        password: str | None = "",
        headers: Mapping[str, str] | None = None,
        seconds: float = REQUEST_SECONDS,
    ) -> tuple[int, bytes]:
        """Send a request and return status and content.

        Args:
            method: GET, POST or DELETE.
            path: below the URL.
            body: sent as JSON where it is not None; bytes are sent as they are.
            password: instead of the right one; None sends no credentials at all.
            headers: further ones.
            seconds: to wait for the answer.

        Raises:
            ClientError: no answer, or that of a server which is not to be trusted.
        """
        request = urllib.request.Request(self.url + path, method=method)
        if password is not None:
            login = f"{self.user}:{password or self.password}".encode()
            request.add_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
        if isinstance(body, bytes):
            request.data = body
            request.add_header("Content-Type", "application/octet-stream")
        elif body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with self._open(request, seconds) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise ClientError(
                    f"{self.url} shows a certificate that is not trusted: {reason.verify_message}",
                    "Run site.yml, which brings certificates and CAs to the machines"
                    " (docs/certificates.md).",
                ) from error
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
