"""What becomes of a thread that ends by an exception.

Python only prints it: the program goes on without the thread, and looks as if all were well. So
what the program rests on ends it, and Swarm starts it again; what serves one connection ends with
that connection, as nothing that one sender sends may stop the others. Either way the log has the
kind of the exception and where it was, and not its text, which may quote an identifier.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

LOG = logging.getLogger(__name__)


class OfOneConnection(threading.Thread):
    """A thread without which only one connection is served."""


def watch(end: Callable[[], None]) -> None:
    """Have ``end`` called when a thread that the program rests on ends by an exception.

    Of the main thread, the exception is logged in the same way.
    """

    def of_thread(given: threading.ExceptHookArgs) -> None:
        name = given.thread.name if given.thread is not None else "unknown"
        where = _where(given.exc_type, given.exc_traceback)
        if isinstance(given.thread, OfOneConnection):
            LOG.error("A connection ended by a fault of this program (thread %s): %s", name, where)
            return
        LOG.critical("The thread %s ended by a fault of this program: %s", name, where)
        end()

    def of_main(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        LOG.critical("This program ended by a fault of its own: %s", _where(kind, trace))

    threading.excepthook = of_thread
    sys.excepthook = of_main


def _where(kind: type[BaseException], trace: TracebackType | None) -> str:
    places = [f"{Path(each.filename).name}:{each.lineno}" for each in traceback.extract_tb(trace)]
    return " in ".join([kind.__name__, *(["; ".join(places[-4:])] if places else [])])
