"""Which role may ask what: methods and paths, as data. What is not listed is refused.

Orthanc hands a path over decoded and without empty and dotted parts, as it will look for it itself,
and the method that X-HTTP-Method-Override or _method have made of the request's own. HEAD, OPTIONS
and those of WebDAV come as GET.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

READER, CURATOR, ADMIN = "reader", "curator", "admin"
ROLES = (READER, CURATOR, ADMIN)

PARTS = {
    "level": "(?:patients|studies|series|instances)",
    "group": "(?:patients|studies|series)",
    "id": "[0-9a-f-]+",
    "uid": "[0-9.]+",
    "name": "[^/]+",
    "path": ".+",
}
"""What stands for a part of a path in braces; ``path`` for any number of them."""

MAY: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    READER: {
        "GET": (
            # Orthanc Explorer, the web page.
            "/",
            "/favicon.ico",
            "/app/{path}",
            "/plugins",
            "/plugins/{name}",
            # What there is.
            "/system",
            "/statistics",
            "/changes",
            "/tools",
            "/tools/dicom-conformance",
            "/tools/labels",
            "/tools/now",
            "/tools/now-local",
            "/{level}",
            "/{level}/{id}",
            "/{level}/{id}/attachments",
            "/{level}/{id}/attachments/{name}",
            "/{level}/{id}/attachments/{name}/compressed-data",
            "/{level}/{id}/attachments/{name}/compressed-md5",
            "/{level}/{id}/attachments/{name}/compressed-size",
            "/{level}/{id}/attachments/{name}/data",
            "/{level}/{id}/attachments/{name}/info",
            "/{level}/{id}/attachments/{name}/is-compressed",
            "/{level}/{id}/attachments/{name}/md5",
            "/{level}/{id}/attachments/{name}/size",
            "/{level}/{id}/labels",
            "/{level}/{id}/labels/{name}",
            "/{level}/{id}/metadata",
            "/{level}/{id}/metadata/{name}",
            "/{level}/{id}/module",
            "/{level}/{id}/statistics",
            "/{group}/{id}/instances",
            "/{group}/{id}/instances-tags",
            "/{group}/{id}/shared-tags",
            "/{group}/{id}/archive",
            "/{group}/{id}/media",
            "/patients/{id}/protected",
            "/patients/{id}/series",
            "/patients/{id}/studies",
            "/studies/{id}/module-patient",
            "/studies/{id}/patient",
            "/studies/{id}/series",
            "/series/{id}/numpy",
            "/series/{id}/ordered-slices",
            "/series/{id}/patient",
            "/series/{id}/study",
            # Objects and their images.
            "/instances/{id}/content/{path}",
            "/instances/{id}/file",
            "/instances/{id}/frames",
            "/instances/{id}/frames/{name}",
            "/instances/{id}/frames/{name}/{name}",
            "/instances/{id}/header",
            "/instances/{id}/image-int16",
            "/instances/{id}/image-uint16",
            "/instances/{id}/image-uint8",
            "/instances/{id}/matlab",
            "/instances/{id}/numpy",
            "/instances/{id}/patient",
            "/instances/{id}/pdf",
            "/instances/{id}/preview",
            "/instances/{id}/rendered",
            "/instances/{id}/series",
            "/instances/{id}/simplified-tags",
            "/instances/{id}/study",
            "/instances/{id}/tags",
            # Downloads of several. Who asked for one that Orthanc makes in the background alone
            # knows the number of its job.
            "/tools/create-archive",
            "/tools/create-media",
            "/tools/create-media-extended",
            "/jobs/{id}",
            "/jobs/{id}/archive",
            # DICOMweb: QIDO-RS, WADO-RS, WADO-URI (PS3.18).
            "/dicom-web/instances",
            "/dicom-web/series",
            "/dicom-web/studies",
            "/dicom-web/studies/{uid}",
            "/dicom-web/studies/{uid}/instances",
            "/dicom-web/studies/{uid}/metadata",
            "/dicom-web/studies/{uid}/rendered",
            "/dicom-web/studies/{uid}/series",
            "/dicom-web/studies/{uid}/series/{path}",
            "/dicom-web/studies/{uid}/thumbnail",
            "/wado",
        ),
        # Searches and downloads whose question stands in the body.
        "POST": (
            "/tools/bulk-content",
            "/tools/count-resources",
            "/tools/create-archive",
            "/tools/create-media",
            "/tools/create-media-extended",
            "/tools/find",
            "/tools/lookup",
            "/{group}/{id}/archive",
            "/{group}/{id}/media",
        ),
    },
    # What a reader may, and this.
    CURATOR: {
        "PUT": ("/{level}/{id}/labels/{name}",),
        "DELETE": (
            "/{level}/{id}/labels/{name}",
            "/studies/{id}",
            "/series/{id}",
            "/instances/{id}",
        ),
    },
}


def expression(template: str) -> re.Pattern[str]:
    """Return what a whole path is compared with."""
    escaped = template.replace(".", r"\.")
    return re.compile(re.sub(r"\{(\w+)\}", lambda part: PARTS[part[1]], escaped))


def _patterns(*tables: Mapping[str, tuple[str, ...]]) -> dict[str, re.Pattern[str]]:
    """Return one expression for each method."""
    paths: dict[str, list[str]] = {}
    for table in tables:
        for method, templates in table.items():
            found = paths.setdefault(method, [])
            found.extend(expression(template).pattern for template in templates)
    return {method: re.compile("|".join(each)) for method, each in paths.items()}


_ALLOWED = {
    READER: _patterns(MAY[READER]),
    CURATOR: _patterns(MAY[READER], MAY[CURATOR]),
}


def may(role: str, method: str, path: str) -> bool:
    """Say whether a role may ask for this.

    Args:
        role: one of `ROLES`; any other may nothing.
        method: GET, POST, PUT or DELETE.
        path: without the query.
    """
    if role == ADMIN:
        return True
    pattern = _ALLOWED.get(role, {}).get(method)
    if pattern is None or not path.startswith("/") or not path.isprintable():
        return False
    if not {".", ".."}.isdisjoint(path.split("/")):
        return False
    return pattern.fullmatch(path.rstrip("/") or "/") is not None
