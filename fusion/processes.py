"""Processes that work for another."""

import os
import threading
from multiprocessing import connection, parent_process

__all__ = ["end_with_parent"]


def end_with_parent(*_: object) -> None:
    """End this process when the one that started it is gone, however that ended.

    Left to itself a worker sleeps for good then: what it waits at is held open by its like.
    """
    parent = parent_process()
    if parent is None:
        return

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
