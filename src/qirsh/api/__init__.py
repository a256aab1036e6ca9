"""HTTP: the edge. It reads requests, calls one verb of `payments`, and writes answers."""
