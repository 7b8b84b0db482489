"""CTP itself: started in its working directory, watched, ended by its own shutdown."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import http.client
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote

from ..settings import Settings
from .workdir import DICTIONARY, USER, Working

LOG = logging.getLogger(__name__)

JAVA = "/usr/bin/java"
LONGEST_LINE = 8192
EXPORTER = "DicomExportService Exporter"
"""Name of the thread of each export stage, by that of the stage in the rendered configuration."""
_LONGEST_NAME = 15
"""Bytes of a thread's name that the kernel keeps (prctl(2), PR_SET_NAME)."""
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)

NOT_STORED = re.compile(
    r"java\.io\.\w+Exception: .*(No space left on device|Input/output error|Disk quota exceeded"
    r"|Read-only file system|Too many open files|Permission denied|Structure needs cleaning)"
)
"""How a failed write looks in CTP's log. It acknowledges the object all the same."""


def command(settings: Settings, working: Working) -> list[str]:
    """The command line of the engine. No secret in it."""
    if settings.engine == "standin":
        return [sys.executable, "-m", "ctp_standin", "--ctp", "."]
    dictionary = working.path / DICTIONARY
    return [
        JAVA,
        *([f"-Xbootclasspath/a:{dictionary}"] if dictionary.is_dir() else []),
        "-Djava.awt.headless=true",
        f"-Djava.io.tmpdir={working.path / 'tmp'}",
        "-Xms64m",
        f"-Xmx{settings.heap_mib}m",
        # One thread works in each pipeline; the other collectors cost memory and start more.
        "-XX:+UseSerialGC",
        # A thread that dies of it would leave the others running.
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        f"-XX:ErrorFile={working.path / 'logs' / 'hs_err.log'}",
        "-jar",
        "libraries/CTP.jar",
    ]


def environment(settings: Settings, working: Working) -> dict[str, str]:
    """All that CTP finds in its environment, which it shows on a page."""
    found = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(working.path)}
    if "TZ" in os.environ:
        found["TZ"] = os.environ["TZ"]
    if settings.engine == "standin":
        found |= {"PYTHONPATH": str(settings.distribution), "PYTHONUNBUFFERED": "1"}
        found["CTP_SECRETS_DIRECTORY"] = str(settings.secrets)
    return found


class Engine:
    """The running CTP."""

    def __init__(
        self,
        settings: Settings,
        working: Working,
        lock: int,
        ended: Callable[[int], None],
        not_stored: Callable[[], None],
    ) -> None:
        """Start it. ``lock`` is a file descriptor that it keeps open as long as it lives.

        Belongs to the main thread: when that ends, however it ends, the kernel ends CTP.
        """
        self._settings = settings
        self._ended = ended
        self._not_stored = not_stored
        self.frozen = False
        self._lock = threading.Lock()
        self.process = subprocess.Popen(
            command(settings, working),
            cwd=working.path,
            env=environment(settings, working),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[lock],
            preexec_fn=_before_exec,
        )
        names = [name for each in settings.pipelines for name in (each.name, EXPORTER)]
        self._threads = Threads(self.process.pid, names)
        threading.Thread(target=self._relay_log, name="ctp log", daemon=True).start()
        threading.Thread(target=self._wait, name="ctp", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether it runs, or is frozen."""
        return self.process.poll() is None

    def lost(self) -> list[str]:
        """The threads of pipelines and exporters that were there and are no more."""
        lost = self._threads.lost()
        # One that has ended, and waits for this program, has its first thread left.
        return lost if self.alive else []

    def freeze(self) -> None:
        """Stop it where it is (SIGSTOP)."""
        with self._lock:
            if not self.frozen and self._signal(signal.SIGSTOP):
                self.frozen = True

    def thaw(self) -> None:
        """Let it go on."""
        with self._lock:
            if self.frozen and self._signal(signal.SIGCONT):
                self.frozen = False

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def stop(self, client: Client, seconds: float) -> bool:
        """End it by its own shutdown; by SIGKILL after ``seconds``. Whether it ended by itself."""
        deadline = time.monotonic() + seconds
        self.thaw()
        threading.Thread(target=self._ask_to_end, args=(client, deadline), daemon=True).start()
        try:
            self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            LOG.error("CTP did not end within %d s and is killed; the next start recovers", seconds)
            self.kill()
            self.process.wait()
            return False
        return True

    def _ask_to_end(self, client: Client, deadline: float) -> None:
        # CTP answers when it has ended its pipelines; one that is still starting, not at all.
        while self.alive and (left := deadline - time.monotonic()) > 0:
            client.shutdown(left)
            time.sleep(1)

    def _signal(self, number: int) -> bool:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return False
        return True

    def _wait(self) -> None:
        self._ended(self.process.wait())

    def _relay_log(self) -> None:
        assert self.process.stdout is not None
        while True:
            line = self.process.stdout.readline(LONGEST_LINE)
            if not line:
                return
            text = line.decode("utf-8", "replace")
            if NOT_STORED.search(text):
                self._not_stored()
            try:
                sys.stdout.write(text if text.endswith("\n") else text + "\n")
                sys.stdout.flush()
            except OSError:
                pass  # nobody reads: CTP must not wait for that


class Threads:
    """Threads of a process, by their names, as the kernel has them.

    Java gives a thread that runs its name there (OpenJDK 17). CTP has one for each pipeline and one
    for its export. What no ``catch (Exception)`` catches, as an overflow of the stack, ends it; an
    exporter ends at exceptions, too. The others go on, CTP answers as before, and what came to that
    pipeline waits for ever.
    """

    def __init__(self, process: int, names: Iterable[str]) -> None:
        self._directory = Path(f"/proc/{process}/task")
        self._names = Counter(name.encode()[:_LONGEST_NAME] for name in names)
        self._seen: set[bytes] = set()

    def lost(self) -> list[str]:
        """Those that were all there before and are not now; none of a process that has ended."""
        found: Counter[bytes] = Counter()
        try:
            for task in self._directory.iterdir():
                with contextlib.suppress(OSError):  # it ended meanwhile
                    found[(task / "comm").read_bytes().rstrip(b"\n")] += 1
        except OSError:
            return []
        missing = {name for name, count in self._names.items() if found[name] < count}
        self._seen |= self._names.keys() - missing
        return sorted(each.decode("utf-8", "replace") for each in missing & self._seen)


def _before_exec() -> None:
    # No memory image with identifiers, and no CTP without its supervisor.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Client:
    """CTP's own pages, over loopback."""

    def __init__(self, port: int, password: str) -> None:
        self.port = port
        token = base64.b64encode(f"{USER}:{password}".encode()).decode("ascii")
        self.headers = {"Authorization": f"Basic {token}"}

    def get(self, path: str, seconds: float, **headers: str) -> tuple[int, bytes]:
        """Status and body of a page. Raises ``OSError`` or ``http.client.HTTPException``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request("GET", path, headers={**self.headers, **headers})
            response = connection.getresponse()
            return response.status, response.read(4 * 1024 * 1024)
        finally:
            connection.close()

    def ping(self, seconds: float = 5.0) -> bool:
        """Whether CTP's web server answers the login with the time, and not with the login page."""
        try:
            status, body = self.get("/ping", seconds)
        except (OSError, http.client.HTTPException):
            return False
        return status == 200 and body[:1].isdigit()

    def shutdown(self, seconds: float) -> None:
        """Ask CTP to end. It answers at its end, or not at all."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.get("/shutdown", seconds, servicemanager="exit")

    def quarantines(self) -> set[tuple[int, int]]:
        """Pipeline and stage of all quarantines that CTP has opened.

        Raises ``OSError`` or ``http.client.HTTPException``.
        """
        _, body = self.get("/quarantines", 30)
        return {
            (int(pipeline), int(stage))
            for pipeline, stage in re.findall(rb"\?p=(\d+)&(?:amp;)?s=(\d+)", body)
        }

    def quarantine(self, action: str, pipeline: int, stage: int, name: str = "") -> None:
        """``queueAll``, ``queueFile`` or ``deleteFile``. Raises as ``quarantines``."""
        query = f"p={pipeline}&s={stage}" + (f"&filename={quote(name)}" if name else "")
        self.get(f"/quarantines/{action}?{query}", 300)
