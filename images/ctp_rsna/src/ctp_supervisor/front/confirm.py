"""Which requests to CTP's own pages only read, and how a person confirms one that does more.

CTP deletes and queues on GET, and a browser sends the login along with whatever link a foreign page
holds. Nothing that a browser tells of where a request comes from can be relied on: over plain HTTP
it sends no ``Sec-Fetch-*``, with a GET no ``Origin``, and a page can suppress ``Referer``. So what
is not known to read only is not forwarded, but answered with a form that holds a token. A foreign
page can make the browser fetch that form, but cannot read it, and so cannot send it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import re
import secrets
import threading
import time
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

SECONDS = 600
"""For how long a form can be sent."""
COOKIE = "auscat_ctp_confirm"
FIELD = "confirm"
_FORM = "application/x-www-form-urlencoded"
_COOKIE_VALUE = re.compile(r"[A-Za-z0-9_-]{32,64}")

_READING = frozenset(
    {
        "attacklog",
        "configuration",
        "dictionary",
        "environment",
        "logs",
        "ping",
        "server",
        "status",
        "summary",
        "svrsts",
        "system",
    }
)
"""Pages of CTP of May 2025 that change nothing, whatever their query (read in its source)."""
_READING_QUARANTINE = frozenset({"", "series", "files", "displayFile", "listFile", "downloadFile"})
_STATIC = re.compile(r"[A-Za-z0-9_-]+\.(?:css|gif|htm|html|ico|jpeg|jpg|js|png|svg)")

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Confirm</title></head><body>
<h1>Nothing was changed yet</h1>
<p>CTP is asked for <code>{target}</code>, which may delete objects or send them on.</p>
<form method="post" action="{target}">
<input type="hidden" name="{field}" value="{token}">
<button type="submit">Confirm</button>
</form>
<p>Did you not ask for it yourself? Then another page did: close this one.</p>
</body></html>
"""


def only_reads(path: str) -> bool:
    """Whether a page of CTP is known to change nothing.

    Args:
        path: of a request, without escapes; CTP distinguishes case.
    """
    first, *rest = [part for part in path.split("/") if part] or [""]
    if first == "quarantines":
        return (rest[0] if rest else "") in _READING_QUARANTINE
    if first == "icons" or not rest:
        return not first or first in _READING or bool(_STATIC.fullmatch((rest or [first])[-1]))
    return first in _READING


class Confirmations:
    """Makes the forms, and knows those that were made. Each can be sent once."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._used: dict[str, float] = {}

    def form(self, target: str, cookies: str) -> tuple[str, str]:
        """The page that asks, and the ``Set-Cookie`` that belongs to it.

        Args:
            target: path and query of the request that is to be confirmed.
            cookies: the request's header ``Cookie``.
        """
        cookie = _cookie(cookies) or secrets.token_urlsafe(32)
        expires = str(int(time.monotonic()) + SECONDS)
        nonce = secrets.token_urlsafe(16)
        token = f"{nonce}.{expires}.{self._seal(nonce, expires, cookie, target)}"
        page = _PAGE.format(target=html.escape(target), field=FIELD, token=html.escape(token))
        return page, f"{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict"

    def is_confirmed(self, target: str, cookies: str, media_type: str, body: bytes) -> bool:
        """Whether a request is a form of this object for that target, sent for the first time."""
        cookie = _cookie(cookies)
        if media_type.partition(";")[0].strip().lower() != _FORM or cookie is None:
            return False
        try:
            (token,) = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=1)[FIELD]
            nonce, expires, seal = token.split(".")
            expected = self._seal(nonce, expires, cookie, target)
        except (ValueError, KeyError):
            return False
        if not hmac.compare_digest(seal.encode(), expected.encode()):
            return False
        now = time.monotonic()
        with self._lock:
            self._used = {each: end for each, end in self._used.items() if end >= now}
            if float(expires) < now or nonce in self._used:
                return False
            self._used[nonce] = float(expires)
        return True

    def _seal(self, *parts: str) -> str:
        text = "\n".join(parts).encode("utf-8")
        digest = hmac.new(self._key, text, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode("ascii")


def _cookie(header: str) -> str | None:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel and _COOKIE_VALUE.fullmatch(morsel.value) else None
