"""The settings that Orthanc knows, to find slips: it takes no notice of one that it does not know.

The names are those that Debian 13's packages document: /etc/orthanc/orthanc.json of orthanc
(1.12.7+dfsg-4) and, in the same directory, serve-folders.json, worklists.json, credentials.json,
and the files of orthanc-dicomweb (1.20+dfsg-1), orthanc-gdcm (1.8+dfsg-1) and orthanc-python
(5.0+ds-3). Another version, or a plugin of another image, may have more, so a name that is not here
is said and not refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

_SETTINGS = """
    AcceptedSopClasses AcceptedTransferSyntaxes AuthenticationEnabled
    BuiltinDecoderTranscoderOrder CaseSensitivePN CheckRevisions ConcurrentJobs
    DatabaseServerIdentifier DefaultEncoding DefaultPrivateCreator DeflatedTransferSyntaxAccepted
    DeidentifyLogs DeidentifyLogsDicomVersion DicomAet DicomAlwaysAllowEcho DicomAlwaysAllowFind
    DicomAlwaysAllowFindWorklist DicomAlwaysAllowGet DicomAlwaysAllowMove DicomAlwaysAllowStore
    DicomAssociationCloseDelay DicomCheckCalledAet DicomCheckModalityHost
    DicomDefaultRetrieveMethod DicomEchoChecksFind DicomLossyTranscodingQuality DicomModalities
    DicomModalitiesInDatabase DicomPort DicomScpTimeout DicomScuPreferredTransferSyntax
    DicomScuTimeout DicomServerEnabled DicomThreadsCount DicomTlsCertificate
    DicomTlsCiphersAccepted DicomTlsEnabled DicomTlsMinimumProtocolVersion DicomTlsPrivateKey
    DicomTlsRemoteCertificateRequired DicomTlsTrustedCertificates Dictionary ExecuteLuaEnabled
    ExternalDictionaries ExtraMainDicomTags H265TransferSyntaxAccepted HttpCompressionEnabled
    HttpDescribeErrors HttpPort HttpProxy HttpRequestTimeout HttpServerEnabled HttpThreadsCount
    HttpTimeout HttpVerbose HttpsCACertificates HttpsVerifyPeers IndexDirectory IngestTranscoding
    IngestTranscodingOfCompressed IngestTranscodingOfUncompressed JobsEngineThreadsCount
    JobsHistorySize Jpeg2000TransferSyntaxAccepted JpegLosslessTransferSyntaxAccepted
    JpegTransferSyntaxAccepted JpipTransferSyntaxAccepted KeepAlive KeepAliveTimeout
    LimitFindInstances LimitFindResults LoadPrivateDictionary Locale LogExportedResources
    LuaHeartBeatPeriod LuaScripts MallocArenaMax MaximumConcurrentDcmtkTranscoders
    MaximumPatientCount MaximumPduLength MaximumStorageCacheSize MaximumStorageMode
    MaximumStorageSize MediaArchiveSize MetricsEnabled Mpeg2TransferSyntaxAccepted
    Mpeg4TransferSyntaxAccepted Name OrthancExplorerEnabled OrthancPeers OrthancPeersInDatabase
    OverwriteInstances Pkcs11 Plugins QueryRetrieveSize ReadOnly RegisteredUsers
    RejectedSopClasses RemoteAccessAllowed RestApiWriteToFileSystemEnabled
    RleTransferSyntaxAccepted SaveJobs SslCertificate SslCiphersAccepted SslEnabled
    SslMinimumProtocolVersion SslTrustedClientCertificates SslVerifyPeers StableAge
    StorageAccessOnFind StorageCommitmentReportsSize StorageCompression StorageDirectory
    StoreDicom StoreMD5ForAttachments StrictAetComparison SyncStorageArea SynchronousCMove
    SynchronousZipStream TcpNoDelay TemporaryDirectory TranscodeDicomProtocol
    UnknownSopClassAccepted UserContentType UserMetadata Warnings WebDavDeleteAllowed
    WebDavEnabled WebDavUploadAllowed ZipLoaderThreads
"""
SETTINGS = frozenset(_SETTINGS.split())
#: Settings of plugins, each a mapping of its own but for Python's.
_PLUGINS = """
    DelayedDeletion DicomWeb Gdcm Housekeeper MultitenantDicom PythonScript PythonVerbose
    ServeFolders Worklists
"""
PLUGINS = frozenset(_PLUGINS.split())
_MODALITY = """
    AET AllowEcho AllowFind AllowFindWorklist AllowGet AllowMove AllowStorageCommitment AllowStore
    AllowTranscoding Host LocalAet Manufacturer Port RetrieveMethod Timeout UseDicomTls
"""
MODALITY = frozenset(_MODALITY.split())
_PEER = """
    CertificateFile CertificateKeyFile CertificateKeyPassword HttpHeaders Password Pkcs11 Timeout
    Url Username
"""
PEER = frozenset(_PEER.split())
#: Settings that hold named mappings, with the keys of these.
NAMED = {"DicomModalities": MODALITY, "OrthancPeers": PEER}


def unknown_settings(options: Any) -> list[str]:
    """Return what to say of settings (orthanc_options) that Orthanc may not know.

    Args:
        options: the variable; of another type, it is reported elsewhere.
    """
    return [
        f"{place} is not among the settings that Orthanc 1.12.7 documents (Debian 13), and Orthanc "
        f"takes no notice of one that it does not know.{_hint(name, known)}"
        for place, name, known in _unknown(options)
    ]


def _unknown(options: Any) -> Iterator[tuple[str, str, Collection[str]]]:
    if not isinstance(options, Mapping):
        return
    known = SETTINGS | PLUGINS
    for name, value in options.items():
        # A mapping with a name of its own is how a plugin of another image takes its settings.
        if name not in known and (not isinstance(value, Mapping) or _near(str(name), known)):
            yield f"orthanc_options.{name}", str(name), known
        keys = NAMED.get(name)
        for entry, fields in value.items() if keys and isinstance(value, Mapping) else ():
            for key in fields if isinstance(fields, Mapping) else ():
                if key not in (keys or ()):
                    yield f"orthanc_options.{name}.{entry}.{key}", str(key), keys or ()


def _near(name: str, known: Collection[str]) -> str:
    by_letters = {each.casefold(): each for each in sorted(known)}
    found = difflib.get_close_matches(name.casefold(), by_letters, 1, 0.8)
    return by_letters[found[0]] if found else ""


def _hint(name: str, known: Collection[str]) -> str:
    near = _near(name, known)
    return f" The nearest is {near}." if near else " A plugin of your own image may know it."
