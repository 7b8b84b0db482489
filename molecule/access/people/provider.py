"""Set up glewlwyd from Debian as an OpenID Connect provider, on the machine that runs this.

    python3 provider.py ADDRESS < provider.json

provider.json: people (name to password), groups (name to members), client_id, client_secret,
redirect_uri, and the two halves of the key that the provider signs with (key, public). glewlwyd has
an empty database, whose administrator has the password that Debian's package gives.
"""

from __future__ import annotations

import http.cookiejar
import json
import ssl
import sys
import urllib.error
import urllib.request
from typing import Any

ADDRESS = sys.argv[1]
GIVEN = json.load(sys.stdin)
OPENER = urllib.request.build_opener(
    urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile="/root/people/ca.pem")),
    urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
)


def call(method: str, path: str, body: object = None) -> Any:
    """Ask glewlwyd's API; ends with what it says when it refuses."""
    request = urllib.request.Request(
        f"https://{ADDRESS}:4593/api{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with OPENER.open(request, timeout=20) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path}: {error.code} {error.read().decode()}")
    return json.loads(text) if text else None


call("POST", "/auth/", {"username": "admin", "password": "password"})
database = call("GET", "/mod/user/database")
database["parameters"]["data-format"]["groups"] = {"multiple": True, "read": True, "write": True}
database["parameters"]["data-format"]["login"] = {"multiple": False, "read": True, "write": True}
call("PUT", "/mod/user/database", database)
call("PUT", "/mod/user/database/reset/")
for name, password in GIVEN["people"].items():
    groups = [group for group, members in GIVEN["groups"].items() if name in members]
    call(
        "POST",
        "/user/",
        {
            "username": name,
            "password": password,
            "enabled": True,
            "scope": ["openid"],
            "login": name,
            **({"groups": groups} if groups else {}),
        },
    )
call(
    "POST",
    "/mod/plugin/",
    {
        "module": "oidc",
        "name": "oidc",
        "display_name": "OpenID Connect",
        "order_rank": 0,
        "readonly": False,
        "parameters": {
            "iss": f"https://{ADDRESS}:4593/api/oidc",
            "jwt-type": "rsa",
            "jwt-key-size": "256",
            "key": GIVEN["key"],
            "cert": GIVEN["public"],
            "jwks-show": True,
            "access-token-duration": 3600,
            "refresh-token-duration": 3600,
            "code-duration": 600,
            "refresh-token-rolling": False,
            "auth-type-code-enabled": True,
            "auth-type-code-revoke-replayed": True,
            "auth-type-token-enabled": False,
            "auth-type-none-enabled": False,
            "auth-type-password-enabled": False,
            "auth-type-client-enabled": False,
            "auth-type-refresh-enabled": False,
            "allow-non-oidc": False,
            "subject-type": "public",
            "allowed-scope": ["openid"],
            "pkce-allowed": True,
            "pkce-method-plain-allowed": False,
            "pkce-required": True,
            "claims": [
                {"name": "preferred_username", "user-property": "login", "type": "string"}
                | {"mandatory": True},
                {"name": "groups", "user-property": "groups", "type": "string"}
                | {"mandatory": True},
            ],
        },
    },
)
call(
    "POST",
    "/client/",
    {
        "client_id": GIVEN["client_id"],
        "name": "The node",
        "enabled": True,
        "confidential": True,
        "client_secret": GIVEN["client_secret"],
        "redirect_uri": [GIVEN["redirect_uri"]],
        "authorization_type": ["code"],
        "token_endpoint_auth_method": ["client_secret_basic"],
        "scope": ["openid"],
    },
)
