"""When does a mail leave that somebody waits for? At once, beside the requests.

What can wait goes with `autarco-portal duties`. Whoever sends holds a lock, so that two processes
never send one mail twice. One thread per process; who asks for more than it can do is refused,
because a form that anybody can send must not fill the memory.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import structlog

from autarco_portal import mail_queue, privacy_settings
from autarco_portal.mail import MailError
from autarco_portal.privacy.error import PrivacyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from autarco_portal.portal_paths import PortalDirectory
    from autarco_portal.store import Store

log = structlog.get_logger(__name__)

WAITING_MAX = 100


class Outbox:
    """Sends what is queued; safe to share between threads."""

    def __init__(
        self, store: Store, directory: PortalDirectory, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._directory = directory
        self._now = now
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mail")
        self._room = threading.BoundedSemaphore(WAITING_MAX)

    def soon(self, first: Callable[[], None] = lambda: None) -> bool:
        """Does `first`, which queues a mail, and sends; both in a while, in another thread.

        So an answer takes as long where there was nothing to send. False: too much waits already.
        """
        if not self._room.acquire(blocking=False):
            return False
        self._worker.submit(self._run, first)
        return True

    def close(self) -> None:
        """Waits for what is being sent."""
        self._worker.shutdown()

    def _run(self, first: Callable[[], None]) -> None:
        try:
            first()
            settings = privacy_settings.load(self._directory.root / "privacy.toml")
            if settings.mail is not None:
                mail_queue.send_waiting(self._store, self._directory, settings.mail, self._now())
        except (MailError, PrivacyError, OSError) as error:
            log.warning("mail cannot be sent now; it waits", error=str(error))
        except Exception:
            # Nobody looks at the result of this thread but the log.
            log.exception("sending mail failed")
        finally:
            self._room.release()
