"""The ways by which a message leaves the machine: a command, mail, a webhook.

``python3 -m node_status.ways`` reads one as JSON on standard input and sends it: a process of its
own, which is ended when it takes too long, and whose command line and environment hold nothing.
What goes wrong is said in words of this project, since nobody knows what a server answers.
"""

from __future__ import annotations

import email.message
import email.policy
import email.utils
import http.client
import ipaddress
import json
import smtplib
import ssl
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from .command import PATH

ANSWER_SECONDS = 15.0
"""For each answer of a server; the whole way has `notify.WAY_SECONDS`."""
PARTLY = "partly: "
"""Begins what is said where the message reached some people and not all."""


class WayError(Exception):
    """A message did not reach everybody; the text says why and quotes nobody."""


def command(way: Mapping[str, Any], message: Mapping[str, Any]) -> None:
    """Run the site's program with the message as JSON on standard input; what it prints is lost.

    Args:
        way: ``arguments``, the program's path and what follows it.
        message: as `notify.message` returns it.

    Raises:
        WayError: it is missing, or its exit code is not 0.
    """
    try:
        done = subprocess.run(
            way["arguments"],
            input=json.dumps(message) + "\n",
            encoding="utf-8",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root"},
            cwd="/",
            check=False,
        )
    except OSError as error:
        raise WayError(f"the program cannot be started ({error.strerror})") from error
    if done.returncode:
        raise WayError(f"the program ended with code {done.returncode}")


def mail(way: Mapping[str, Any], message: Mapping[str, Any]) -> None:
    """Hand the message to the site's relay.

    Args:
        way: ``host``, ``port``, ``tls`` (starttls, tls or none), ``ca`` (PEM, empty: the machine's
            own), ``user`` and ``password`` (empty: no login), ``from``, ``to`` (a list).
        message: as `notify.message` returns it.

    Raises:
        WayError: it was not taken, or not for all; `PARTLY` begins the text then.
    """
    try:
        refused = _hand_over(way, _letter(way, message))
    except smtplib.SMTPNotSupportedError as error:
        raise WayError(
            "the relay offers no STARTTLS, or no login that this program knows"
        ) from error
    except smtplib.SMTPAuthenticationError as error:
        raise WayError("the relay refuses the login") from error
    except smtplib.SMTPSenderRefused as error:
        raise WayError(f"the relay refuses the sender ({error.smtp_code})") from error
    except smtplib.SMTPRecipientsRefused as error:
        codes = sorted({code for code, _ in error.recipients.values()})
        raise WayError(
            f"the relay refuses every recipient ({', '.join(map(str, codes))})"
        ) from error
    except smtplib.SMTPResponseException as error:
        raise WayError(f"the relay answers {error.smtp_code}") from error
    except smtplib.SMTPException as error:
        raise WayError("the relay does not speak SMTP, or broke off") from error
    except OSError as error:
        raise WayError(f"the relay: {_reason(error)}") from error
    if refused:
        raise WayError(
            f"{PARTLY}the relay refused {len(refused)} of {len(way['to'])} recipients and took the "
            "message for the others"
        )


def _hand_over(way: Mapping[str, Any], letter: email.message.EmailMessage) -> dict[str, Any]:
    """Return the recipients that the relay refuses, where it takes the message for others."""
    host, port = way["host"], int(way["port"])
    if way["tls"] == "tls":
        relay: smtplib.SMTP = smtplib.SMTP_SSL(
            host, port, timeout=ANSWER_SECONDS, context=trusting(way["ca"])
        )
    else:
        relay = smtplib.SMTP(host, port, timeout=ANSWER_SECONDS)
    with relay:
        if way["tls"] == "starttls":
            relay.starttls(context=trusting(way["ca"]))
        if way["user"]:
            relay.login(way["user"], way["password"])
        found: dict[str, Any] = relay.send_message(
            letter, from_addr=way["from"], to_addrs=list(way["to"])
        )
        return found


def _letter(way: Mapping[str, Any], message: Mapping[str, Any]) -> email.message.EmailMessage:
    letter = email.message.EmailMessage(policy=email.policy.SMTP)
    letter["Subject"] = message["subject"]
    letter["From"] = way["from"]
    letter["To"] = ", ".join(way["to"])
    letter["Date"] = email.utils.localtime()
    # Not the machine's name, which the inventory's need not be.
    letter["Message-ID"] = email.utils.make_msgid(domain=way["from"].rpartition("@")[2])
    letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers
    letter.set_content(message["text"])
    return letter


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token to whoever the server names."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none."""


def webhook(way: Mapping[str, Any], message: Mapping[str, Any]) -> None:
    """POST the message as JSON.

    Args:
        way: ``url`` (https), ``headers``, ``ca`` (PEM, empty: the machine's own), ``proxy`` (URL,
            empty: none), ``no_proxy`` (names, domains and networks without it).
        message: as `notify.message` returns it.

    Raises:
        WayError: the answer is none of 2xx, or there is none.
    """
    host = urllib.parse.urlsplit(way["url"]).hostname or ""
    proxy = way["proxy"] if way["proxy"] and not without_proxy(host, way["no_proxy"]) else ""
    request = urllib.request.Request(
        way["url"],
        data=json.dumps(message).encode(),
        headers={
            "Content-Type": "application/json",
            "User-Agent": "auscat-imaging",
            **way["headers"],
        },
        method="POST",
    )
    try:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({"https": proxy} if proxy else {}),
            urllib.request.HTTPSHandler(context=trusting(way["ca"])),
            _NoRedirect(),
        )
        with opener.open(request, timeout=ANSWER_SECONDS):
            pass
    except urllib.error.HTTPError as error:
        raise WayError(f"the receiver answers HTTP {error.code}") from error
    except urllib.error.URLError as error:
        reason = error.reason if isinstance(error.reason, OSError) else error
        raise WayError(f"the receiver: {_reason(reason)}") from error
    except OSError as error:
        raise WayError(f"the receiver: {_reason(error)}") from error
    except (http.client.HTTPException, ValueError) as error:
        raise WayError("the receiver does not speak HTTP") from error


def without_proxy(host: str, names: list[str]) -> bool:
    """Tell whether a host is reached directly, by names, domains and networks (auscat_no_proxy)."""
    host = host.lower()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        domains = [name.lower().lstrip(".") for name in names]
        return any(each == "*" or host == each or host.endswith("." + each) for each in domains)
    for name in names:
        try:
            if address in ipaddress.ip_network(name, strict=False):
                return True
        except ValueError:
            continue
    return False


def trusting(ca: str) -> ssl.SSLContext:
    """Return what checks a server's certificate and its name.

    Args:
        ca: CAs in PEM; empty for those that the machine trusts.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca:
        context.load_verify_locations(cadata=ca)
    else:
        context.load_default_certs()
    return context


def _reason(error: BaseException) -> str:
    """Return why no connection came about, in words of the operating system or of OpenSSL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not hold ({error.verify_message.rstrip('.')})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({str(error.reason).replace('_', ' ').lower()})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return "no connection"


WAYS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], None]] = {
    "command": command,
    "mail": mail,
    "webhook": webhook,
}


def main() -> int:
    """Send what standard input holds; print why that failed, and return the exit status."""
    try:
        asked = json.load(sys.stdin)
        WAYS[asked["way"]](asked["settings"], asked["message"])
    except WayError as error:
        print(error)
        return 1
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        print(f"the settings of this way cannot be used ({type(error).__name__})")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
