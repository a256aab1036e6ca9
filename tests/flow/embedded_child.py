"""A process of its own that starts the embedded PostgreSQL: `embedded_child.py <data_dir> [<uid>]`.

It prints the DSN, then waits: the line "stop" stops the server, the end of its input just ends the process.
"""

import os
import sys
from pathlib import Path

from qirsh.store.cluster import EmbeddedPostgresError
from qirsh.store.embedded import EmbeddedPostgres

if __name__ == "__main__":
    if len(sys.argv) > 2:
        # Only now, after the imports: that user may not be able to read this interpreter's own files.
        uid = int(sys.argv[2])
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    postgres = EmbeddedPostgres(Path(sys.argv[1]), {"fsync": "off"})
    try:
        sys.stdout.write(postgres.start() + "\n")
        sys.stdout.flush()
    except EmbeddedPostgresError as error:
        sys.exit(f"refused: {error}")
    if sys.stdin.readline() == "stop\n":
        postgres.stop()
        sys.stdout.write("stopped\n")
