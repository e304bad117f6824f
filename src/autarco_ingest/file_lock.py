"""How do processes that must not do the same thing at once wait for one another?

By a lock on an empty file, which the kernel gives back when its holder ends, however it ends. Who
would rather be refused than wait (a second server, `check --set-aside`) asks by itself.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Waits until nobody holds the lock, and holds it; raises OSError.

    The file is readable for all, which is enough to lock it: an operator who was root once must not
    lock the service's own user out. Its directory is private.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
