-- The order of a journal by the draft itself, since the clocks of two servers, which make the ids, may differ.

-- Payments wait while this waits, so it does not wait for somebody's backup: it is tried again at the next start.
SET LOCAL lock_timeout = '3s';
-- The draft's version after the fold that wrote the entry; null: written before this, and older than all that has one.
-- Without a CHECK, which would read the whole journal while payments wait.
ALTER TABLE payment_events ADD COLUMN draft_version int;
