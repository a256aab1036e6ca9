-- A payment that a person accepted as gone is failed, and what went back of it before stays counted.

-- Payments wait while this waits, so it does not wait for somebody's backup: it is tried again at the next start.
SET LOCAL lock_timeout = '3s';
ALTER TABLE payment_drafts DROP CONSTRAINT payment_drafts_check5; -- refunded_minor > 0 in the refunded states alone
ALTER TABLE payment_drafts ADD CONSTRAINT payment_drafts_refunded_state
  CHECK (state = 'failed' OR (state IN ('partially_refunded', 'refunded')) = (refunded_minor > 0));
