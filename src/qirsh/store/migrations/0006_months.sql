-- The journal and the deliveries in monthly partitions, by the time in their ids, and work that is done once a day.

-- Payments wait while this waits, so it does not wait for somebody's backup: it is tried again at the next start.
SET LOCAL lock_timeout = '3s';
-- In the order in which everybody locks, or a server that folds a payment at this moment could lock the other way round.
LOCK TABLE payment_drafts IN SHARE ROW EXCLUSIVE MODE;
LOCK TABLE payment_events, webhook_deliveries IN ACCESS EXCLUSIVE MODE;

-- What there was becomes the first partition, where it stands. It ends with the month of tomorrow, because another
-- machine's clock may be ahead. `<table>_default` takes what no month takes, so that no insert ever fails for want of one.
ALTER TABLE payment_events RENAME TO payment_events_first;
ALTER INDEX payment_events_pkey RENAME TO payment_events_first_pkey;
ALTER INDEX payment_events_draft RENAME TO payment_events_first_draft;
CREATE TABLE payment_events (LIKE payment_events_first INCLUDING DEFAULTS INCLUDING CONSTRAINTS, PRIMARY KEY (id))
  PARTITION BY RANGE (id);
CREATE INDEX payment_events_draft ON payment_events (draft_id, id);
ALTER TABLE payment_events ADD CONSTRAINT payment_events_draft_id_fkey FOREIGN KEY (draft_id) REFERENCES payment_drafts (id);
ALTER TABLE payment_events ATTACH PARTITION payment_events_first FOR VALUES FROM (MINVALUE) TO (
  (lpad(to_hex((1000 * extract(epoch FROM date_trunc('month', now() AT TIME ZONE 'UTC' + interval '1 day')
    + interval '1 month'))::bigint), 12, '0') || repeat('0', 20))::uuid);
CREATE TABLE payment_events_default PARTITION OF payment_events DEFAULT;

ALTER TABLE webhook_deliveries RENAME TO webhook_deliveries_first;
ALTER INDEX webhook_deliveries_pkey RENAME TO webhook_deliveries_first_pkey;
ALTER INDEX webhook_deliveries_draft RENAME TO webhook_deliveries_first_draft;
DROP INDEX webhook_deliveries_received; -- they are listed by id, which is as good
CREATE TABLE webhook_deliveries (LIKE webhook_deliveries_first INCLUDING DEFAULTS INCLUDING CONSTRAINTS, PRIMARY KEY (id))
  PARTITION BY RANGE (id);
CREATE INDEX webhook_deliveries_draft ON webhook_deliveries (draft_id) WHERE draft_id IS NOT NULL;
ALTER TABLE webhook_deliveries ADD CONSTRAINT webhook_deliveries_draft_id_fkey FOREIGN KEY (draft_id) REFERENCES payment_drafts (id);
ALTER TABLE webhook_deliveries ATTACH PARTITION webhook_deliveries_first FOR VALUES FROM (MINVALUE) TO (
  (lpad(to_hex((1000 * extract(epoch FROM date_trunc('month', now() AT TIME ZONE 'UTC' + interval '1 day')
    + interval '1 month'))::bigint), 12, '0') || repeat('0', 20))::uuid);
CREATE TABLE webhook_deliveries_default PARTITION OF webhook_deliveries DEFAULT;

-- What retention has taken away, so that a journal with a gap is not mistaken for a draft that nobody can explain.
CREATE TABLE pruned_months (
  name text PRIMARY KEY CHECK (char_length(name) BETWEEN 1 AND 63), -- of the partition
  table_name text NOT NULL CHECK (table_name IN ('payment_events', 'webhook_deliveries')),
  ends uuid NOT NULL, -- what had a smaller id was taken
  pruned_at timestamptz NOT NULL
);

-- What is done once a day by whichever worker is free.
CREATE TABLE daily_work (
  id uuid PRIMARY KEY,
  name text NOT NULL UNIQUE CHECK (char_length(name) BETWEEN 1 AND 50),
  next_check_at timestamptz NOT NULL,
  attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  version int NOT NULL DEFAULT 0 CHECK (version >= 0)
);

-- Drafts that ended and still hold who paid: those that a worker takes it from, each once.
CREATE INDEX payment_drafts_payer ON payment_drafts (updated_at)
  WHERE request ? 'payer' AND state NOT IN ('pending', 'awaiting_user_action');
