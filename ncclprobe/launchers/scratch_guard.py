"""A process that removes a folder once whoever started it has ended, however it ended: its stdin ends then.

It is started by its path, not as part of the package, and imports what it needs when it does: most owners remove the
folder themselves.
"""

from __future__ import annotations

import os
import sys
import time

PATIENCE_S = 30.0
"""How long processes that are ending may still write into the folder."""


def main() -> None:
    """Wait, and remove the folder that is named on the command line."""
    (folder,) = sys.argv[1:]
    while os.read(0, 1 << 10):
        pass
    if not os.path.lexists(folder):
        return
    import shutil

    deadline = time.monotonic() + PATIENCE_S
    while os.path.lexists(folder) and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.01)


if __name__ == "__main__":
    main()
