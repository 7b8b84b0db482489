"""Certificates of the machines: made by the node's own CA, or the hospital's, and judged.

The CA signs one certificate for each machine. Both are data of the inventory: in its vault, or in a
directory of the controller (`certificate_store`). The CA's key never leaves the controller.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    # The controller alone calls this, and has it: ansible-core needs it for vaults.
    x509 = None  # type: ignore[assignment]

#: How a machine's certificates come about (auscat_tls).
MODES = ("own_ca", "files", "none")
CA_DAYS = 3653
MACHINE_DAYS = 398
#: Clocks that go behind the controller's by less than this accept a new certificate.
EARLY = datetime.timedelta(days=1)
#: Under these names the machine itself and the services of its stack reach one another.
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
SERVICE_NAMES = ("orthanc", "ctp", "keydb", "keydb_server")
#: Variables of a host that name it, each a text or a list of texts.
NAME_VARIABLES = ("auscat_address", "ansible_host", "auscat_tls_names")
RSA_BITS = 2048
CURVES = ("secp256r1", "secp384r1", "secp521r1")
WEAK_HASHES = ("md5", "sha1")

PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
RENEW = "playbooks/renew_certificates.yml makes new ones"
RENEW_CA = (
    "playbooks/renew_certificates.yml -e renew=ca makes a new one, which clients have to trust"
)

Names = Sequence[str]
Pair = dict[str, str]


class CertificateError(ValueError):
    """A certificate cannot be made or read; the text says why and what to do."""


def now() -> datetime.datetime:
    """Return the time, in UTC."""
    return datetime.datetime.now(datetime.timezone.utc)


# --- Names ---------------------------------------------------------------------------------------


def given_names(host: str, hostvars: Any) -> list[str]:
    """Return the names and addresses by which others may know a machine, as its inventory says."""
    variables = hostvars[host]
    found = [host]
    for variable in NAME_VARIABLES:
        value = variables.get(variable) or []
        found += map(str, value if isinstance(value, (list, tuple)) else [value])
    return _unique(found)


def machine_names(host: str, hostvars: Any) -> list[str]:
    """Return all names and addresses of a machine's own certificate, its inventory name first."""
    return _unique([*given_names(host, hostvars), *LOCAL_NAMES, *SERVICE_NAMES])


def _unique(names: Iterable[str]) -> list[str]:
    stripped = (name.strip() for name in names)
    return list({name.lower(): name for name in reversed(list(stripped)) if name}.values())[::-1]


def _general_name(name: str) -> Any:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if re.fullmatch(r"(\*\.)?[A-Za-z0-9_.-]{1,253}", name):
        return x509.DNSName(name)
    raise CertificateError(
        f"A certificate cannot carry the name {name!r}. Accepted in auscat_tls_names, "
        "auscat_address and ansible_host: addresses, and names of ASCII letters, digits, '-', '_' "
        "and '.'. Correct it in the inventory."
    )


def names_in(certificate: Any) -> list[str]:
    """Return the names and addresses that a certificate is for (subjectAltName)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(each.value) for each in found if isinstance(each, (x509.DNSName, x509.IPAddress))]


def page_trust(tls: Mapping[str, str], ca_file: str) -> dict[str, str]:
    """Return how a machine knows its own pages, as ``host/http.py`` takes it.

    Args:
        tls: ``mode``, ``certificate`` and ``ca``, as the roles have them (__auscat_tls).
        ca_file: where the machine has the CAs that it trusts.

    Returns:
        ca_file; empty: those of the system. name: for which the certificate has to be, where that
        is not the one in the URL: the hospital's knows no 127.0.0.1.
    """
    if tls["mode"] == "none":
        return {"ca_file": "", "name": ""}
    names = names_in(certificates_in(tls["certificate"])[0]) if tls["mode"] == "files" else []
    # A wildcard is for any label.
    name = next(iter(names), "").replace("*", "node")
    return {"ca_file": ca_file if tls["ca"] else "", "name": name}


def is_named(name: str, carried: Iterable[str]) -> bool:
    """Tell whether a certificate with these names is one for `name`; a wildcard is for one label.

    Source: RFC 6125, 6.4.
    """
    wanted = _as_written(name)
    for each in map(_as_written, carried):
        if each == wanted:
            return True
        if each.startswith("*.") and wanted.partition(".")[2] == each[2:]:
            return True
    return False


def _as_written(name: str) -> str:
    """Return an address in its one notation (RFC 5952), a name in small letters."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower()


# --- Making them ---------------------------------------------------------------------------------


def make_authority(at: datetime.datetime | None = None) -> Pair:
    """Return a new CA: its ``certificate`` and ``key``, both PEM."""
    return _authority(at or now())[0]


def renew_authority(old: Mapping[str, str], at: datetime.datetime | None = None) -> Pair:
    """Return a new CA in the place of an old one, with an overlap.

    Returns:
        ``certificate`` and ``key`` as `make_authority`; ``previous``, the old CA's certificate,
        which the node trusts too; ``cross``, the new CA's key signed by the old CA: whoever trusts
        only the old one accepts what comes with it. Neither where the old CA has expired: nobody
        accepts what it signs.
    """
    at = at or now()
    (certificate,) = certificates_in(old["certificate"])
    old_key = _key(old["key"])
    made, key, name = _authority(at)
    if _ends(certificate) <= at:
        return made
    ends = min(_ends(certificate), at + datetime.timedelta(days=CA_DAYS))
    cross = _signed(name, certificate.subject, key.public_key(), old_key, at, ends, None)
    return {**made, "previous": _text(certificate), "cross": _text(cross)}


def issue(authority: Mapping[str, str], names: Names, at: datetime.datetime | None = None) -> Pair:
    """Return a new ``certificate`` (the chain) and ``key`` of a machine, both PEM.

    Args:
        authority: as `make_authority` or `renew_authority` returns it.
        names: of the machine; the first becomes its common name.
        at: the time.

    Raises:
        CertificateError: a name cannot stand in a certificate, the CA's texts are none, or it has
            expired.
    """
    at = at or now()
    (ca,) = certificates_in(authority["certificate"])
    if _ends(ca) <= at:
        raise CertificateError(
            f"The node's own CA expired on {_ends(ca):%Y-%m-%d}, and nobody accepts what it signs. "
            f"{RENEW_CA}. Nothing was changed."
        )
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(names[0])
    ends = min(_ends(ca), at + datetime.timedelta(days=MACHINE_DAYS))
    made = _signed(subject, ca.subject, key.public_key(), _key(authority["key"]), at, ends, names)
    return {
        "certificate": _text(made) + authority.get("cross", ""),
        "key": _key_text(key),
    }


def trusted(authority: Mapping[str, str]) -> str:
    """Return the CA certificates that clients trust, PEM: during an overlap both."""
    return authority["certificate"] + authority.get("previous", "")


def is_due(
    pair: Mapping[str, str],
    authority: Mapping[str, str],
    names: Names,
    at: datetime.datetime | None = None,
) -> bool:
    """Tell whether a machine's certificate has to be made anew.

    That is so when it cannot be read, is not this CA's, has fewer than a third of its days left, or
    lacks a name.
    """
    at = at or now()
    try:
        leaf = certificates_in(pair["certificate"])[0]
        (ca,) = certificates_in(authority["certificate"])
        belongs = _public(_key(pair["key"]).public_key()) == _public(leaf.public_key())
    except (CertificateError, KeyError):
        return True
    span = _ends(leaf) - _begins(leaf)
    return (
        not belongs
        or not _is_signed_by(leaf, ca)
        or _ends(leaf) - at < span / 3
        or not all(is_named(name, names_in(leaf)) for name in names)
    )


def _authority(at: datetime.datetime) -> tuple[Pair, Any, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    # Two CAs of one day are told apart, by people and by programs that look for an issuer by name.
    name = _name(f"AusCAT imaging node CA {at:%Y-%m-%d} {secrets.token_hex(4)}")
    ends = at + datetime.timedelta(days=CA_DAYS)
    certificate = _signed(name, name, key.public_key(), key, at, ends, None)
    return {"certificate": _text(certificate), "key": _key_text(key)}, key, name


def _name(common: str) -> Any:
    # X.520 allows a common name 64 characters; programs read the alternative names.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _signed(
    subject: Any,
    issuer: Any,
    public: Any,
    signer: Any,
    at: datetime.datetime,
    ends: datetime.datetime,
    names: Names | None,
) -> Any:
    """Return a certificate: of a machine with these names, of a CA without."""
    usage = {
        "digital_signature": names is not None,
        "content_commitment": False,
        "key_encipherment": False,
        "data_encipherment": False,
        "key_agreement": False,
        "key_cert_sign": names is None,
        "crl_sign": names is None,
        "encipher_only": False,
        "decipher_only": False,
    }
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - EARLY)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if names is not None:
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        alternatives = x509.SubjectAlternativeName([_general_name(each) for each in names])
        builder = builder.add_extension(alternatives, critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    return builder.sign(signer, hashes.SHA256())


# --- Reading them --------------------------------------------------------------------------------


def certificates_in(text: str) -> list[Any]:
    """Return the certificates of a PEM text, at least one.

    Raises:
        CertificateError: there are none, or one cannot be read.
    """
    try:
        found = [x509.load_pem_x509_certificate(each.encode()) for each in PEM.findall(text)]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"which holds a certificate that cannot be read ({error})") from None
    if not found:
        raise CertificateError("which holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")
    return found


def _key(text: str) -> Any:
    """Return a private key. The text of an error never shows it."""
    if "ENCRYPTED" in text:
        raise CertificateError("which holds a key that is encrypted")
    try:
        return serialization.load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificateError("which holds no private key in PEM (-----BEGIN …)") from None


def _key_text(key: Any) -> str:
    form = serialization.PrivateFormat.PKCS8
    encoding = serialization.Encoding.PEM
    return str(key.private_bytes(encoding, form, serialization.NoEncryption()).decode())


def _text(certificate: Any) -> str:
    return str(certificate.public_bytes(serialization.Encoding.PEM).decode())


def _public(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_bytes(serialization.Encoding.DER, form))


def _begins(certificate: Any) -> datetime.datetime:
    return _utc(certificate, "not_valid_before")


def _ends(certificate: Any) -> datetime.datetime:
    return _utc(certificate, "not_valid_after")


def _utc(certificate: Any, name: str) -> datetime.datetime:
    # Before version 42 the library knows the naive ones alone.
    found = getattr(certificate, f"{name}_utc", None)
    moment: datetime.datetime = found if found is not None else getattr(certificate, name)
    return moment.replace(tzinfo=datetime.timezone.utc)


def _is_signed_by(certificate: Any, issuer: Any) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _usages(certificate: Any) -> list[str] | None:
    try:
        found = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return None
    return [each.dotted_string for each in found]


# --- Judging them --------------------------------------------------------------------------------


def problems(
    tls: Mapping[str, str],
    names: Names,
    given: Names = (),
    at: datetime.datetime | None = None,
    mutual: bool = False,
) -> list[str]:
    """Return what is wrong with the certificate of a machine, each with its remedy.

    Args:
        tls: ``mode``, ``certificate``, ``key`` and ``ca`` as the roles have them (__auscat_tls).
        names: those that the certificate has to carry; with mode ``files`` the hospital's own
            (auscat_tls_names), beside one at least of `given`.
        given: names by which others know the machine.
        at: the time.
        mutual: the machine shows it as a client too, and asks others for theirs.
    """
    mode, at = tls["mode"], at or now()
    if mode == "none":
        return []
    is_own = mode == "own_ca"
    of = "own_ca: the certificate of this machine" if is_own else "auscat_tls_certificate"
    of_key = "own_ca: the key of this machine" if is_own else "auscat_tls_key"
    of_ca = "own_ca: the certificate of the CA" if is_own else "auscat_tls_ca"
    remedy = f"{RENEW}." if is_own else "Ask whoever runs the hospital's CA for another."
    found = []
    try:
        chain = certificates_in(tls["certificate"])
    except CertificateError as error:
        return [f"{of} is a text {error}. Accepted: PEM, or a path on the controller. {remedy}"]
    authorities = []
    try:
        authorities = certificates_in(tls["ca"]) if tls["ca"] else []
    except CertificateError as error:
        found.append(f"{of_ca} is a text {error}. Accepted: PEM of the CAs. {remedy}")
    leaf = chain[0]
    try:
        if _public(_key(tls["key"]).public_key()) != _public(leaf.public_key()):
            found.append(
                f"{of_key} belongs to another certificate than {of}. Accepted: the two that were "
                f"made together. {remedy}"
            )
    except CertificateError as error:
        found.append(
            f"{of_key} is a text {error}. Accepted: the key in PEM without a passphrase (the vault "
            "protects it: openssl pkey -in FILE takes one away)."
        )
    # Behind the own CA's stands what the CA before has signed, which may expire: who trusts the new
    # one does not need it.
    for each in chain[:1] if is_own else chain:
        found += [f"{of} {text} {remedy}" for text in _weaknesses(each, at)]
    found += _trust_problems(
        of, of_ca, remedy, f"{RENEW_CA}." if is_own else remedy, chain, authorities, at
    )
    for lower, upper in zip(chain, chain[1:]):
        if not _is_signed_by(lower, upper):
            found.append(
                f"{of} is a chain in which {_shown(upper)} has not signed {_shown(lower)}. "
                "Accepted: the machine's certificate first, then each that signed the one before."
            )
    if mutual and not tls["ca"]:
        found.append(
            f"{of_ca} is empty. Accepted where CTP and Orthanc are on two machines: PEM of the CAs "
            "that sign their certificates, since whoever has one of theirs may send to Orthanc."
        )
    wanted = {"serverAuth": ExtendedKeyUsageOID.SERVER_AUTH}
    if mutual:
        wanted["clientAuth"] = ExtendedKeyUsageOID.CLIENT_AUTH
    usages = _usages(leaf)
    lacking = [
        name
        for name, oid in wanted.items()
        if usages is not None and oid.dotted_string not in usages
    ]
    if lacking:
        found.append(
            f"{of} is not for {' and '.join(lacking)} (its extended key usage is "
            f"{', '.join(usages or [])}). Accepted: {', '.join(wanted)}, or none named. {remedy}"
        )
    return found + _name_problems(of, remedy, names_in(leaf), names, given)


def _trust_problems(
    of: str,
    of_ca: str,
    remedy: str,
    remedy_of_ca: str,
    chain: Sequence[Any],
    authorities: Sequence[Any],
    at: datetime.datetime,
) -> list[str]:
    """Return why clients that trust `authorities` do not accept a chain now.

    Programs go up to a certificate that signed itself, and nothing on the way may have expired.
    Others may: the CA before this one, or one of a hospital's many. A root's own signature proves
    nothing, so its hash does not matter.
    """
    if not authorities or _goes_up(chain, [each for each in authorities if not _dates(each, at)]):
        return []
    signers = [upper for upper in authorities if any(_is_signed_by(each, upper) for each in chain)]
    if not signers:
        return [
            f"{of} is signed by {chain[0].issuer.rfc4514_string()!r}, which is none of {of_ca}. "
            f"Accepted: a chain up to one of them. {remedy}"
        ]
    if _goes_up(chain, authorities):
        return [
            f"{of_ca} {text} {remedy_of_ca}" for each in authorities for text in _dates(each, at)
        ]
    return [
        f"{of_ca} holds {_shown(signers[0])}, which {signers[0].issuer.rfc4514_string()!r} has "
        "signed, and not that one. Accepted: the CAs up to the one that has signed itself, since "
        "most programs trust no other. Add it."
    ]


def _goes_up(chain: Sequence[Any], authorities: Sequence[Any]) -> bool:
    """Tell whether a chain goes up to one of these CAs that has signed itself."""
    reached, left = list(chain), list(authorities)
    while upper := [each for each in left if any(_is_signed_by(one, each) for one in reached)]:
        if any(_is_signed_by(each, each) for each in upper):
            return True
        reached += upper
        left = [each for each in left if each not in upper]
    return False


def sender_authorities(
    given: Any, mode: str, read: Callable[[str], str], at: datetime.datetime | None = None
) -> str:
    """Return the CAs of which one has to have signed a sender's certificate, PEM; empty for none.

    Args:
        given: ctp_dicom_tls_clients, PEM text or a path on the controller.
        mode: ctp_dicom_tls.
        read: returns the content of a file of the controller, and raises OSError.
        at: the time.

    Raises:
        CertificateError: no sender could ever show a certificate of them.
    """
    text, at = str(given or ""), at or now()
    if not text.strip():
        return ""
    is_text = "-----BEGIN" in text
    # What is no path is perhaps a key that has lost its first line: it is not shown.
    shown = repr(text) if not is_text and len(text) < 200 and "\n" not in text else "a text"
    accepted = (
        "Accepted: certificates of CAs in PEM, or the path of a file with them on the controller; "
        "an empty text where senders show none. Ask whoever runs the PACS for its CA."
    )
    if mode == "none":
        raise CertificateError(
            f"ctp_dicom_tls_clients is {shown}, and ctp_dicom_tls is none, which asks no sender "
            "for a certificate. Accepted: CAs with ctp_dicom_tls accepted or required. Set it, or "
            "empty ctp_dicom_tls_clients."
        )
    try:
        content = text if is_text else read(text)
    except (OSError, ValueError):
        raise CertificateError(
            f"ctp_dicom_tls_clients is {shown}, which cannot be read on the controller. {accepted}"
        ) from None
    if "PRIVATE KEY" in content:
        raise CertificateError(
            f"ctp_dicom_tls_clients is {shown}, which holds a private key. {accepted}"
        )
    try:
        late = [_dates(each, at) for each in certificates_in(content)]
    except CertificateError as error:
        raise CertificateError(f"ctp_dicom_tls_clients is {shown}, {error}. {accepted}") from None
    # A CA that has ended may stand beside the one that follows it.
    if all(late):
        raise CertificateError(f"ctp_dicom_tls_clients is {shown}, which {late[0][0]} {accepted}")
    return content


def mode_problems(mode: str, others: Mapping[str, Any]) -> list[str]:
    """Refuse machines that show one another certificates which the other does not trust.

    Args:
        mode: auscat_tls of this machine.
        others: the same of the machines that it sends studies to, or takes them from.
    """
    differing = [f"{found} on {host}" for host, found in sorted(others.items()) if found != mode]
    if not differing:
        return []
    return [
        f"auscat_tls is {mode}, and {', '.join(differing)}. Accepted: the same on all machines of "
        "the node, since CTP and Orthanc show each other their certificates, and each trusts the "
        "CAs of its own setting alone. Set it in group_vars/all (docs/certificates.md)."
    ]


def _name_problems(
    of: str, remedy: str, carried: list[str], names: Names, given: Names
) -> list[str]:
    shown = ", ".join(carried) or "nobody"
    lacking = [name for name in names if not is_named(name, carried)]
    if lacking:
        return [f"{of} is for {shown}, and not for {', '.join(lacking)}. {remedy}"]
    if given and not any(is_named(name, carried) for name in given):
        return [
            f"{of} is for {shown}, and this machine is {', '.join(given)}. Accepted: a certificate "
            "for one of these; name what else it is called in auscat_tls_names."
        ]
    return []


def _dates(certificate: Any, at: datetime.datetime) -> list[str]:
    begins, ends = _begins(certificate), _ends(certificate)
    if ends <= at:
        return [f"holds {_shown(certificate)}, which expired on {ends:%Y-%m-%d}."]
    if begins > at:
        text = f"holds {_shown(certificate)}, which is valid from {begins:%Y-%m-%d %H:%M} UTC on."
        return [f"{text} Compare the controller's clock."]
    return []


def _weaknesses(certificate: Any, at: datetime.datetime) -> list[str]:
    found = _dates(certificate, at)
    shown, key = _shown(certificate), certificate.public_key()
    is_root = certificate.subject == certificate.issuer
    hashed = getattr(certificate.signature_hash_algorithm, "name", "")
    if hashed in WEAK_HASHES and not is_root:
        found.append(f"holds {shown}, signed with {hashed.upper()}. Accepted: SHA-256 or better.")
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < RSA_BITS:
            text = f"holds {shown}, an RSA key of {key.key_size} bits. Accepted: {RSA_BITS} or more"
            found.append(f"{text}, or an elliptic curve.")
    elif not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        found.append(
            f"holds {shown}, whose key the services do not accept. Accepted: RSA "
            "of 2048 bits or more, or one of the curves P-256, P-384 and P-521."
        )
    return found


def _shown(certificate: Any) -> str:
    return repr(certificate.subject.rfc4514_string())
