"""Durable work: the due rows are the truth, PgQueuer's queue is a nudge. One file a kind."""
