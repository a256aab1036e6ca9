-- Giving money back: one row per request of an operator, and the tries at a code that was texted to a payer.

CREATE TABLE refunds (
  id uuid PRIMARY KEY, -- the PSP's idempotency key, where the PSP honours one for refunds
  draft_id uuid NOT NULL REFERENCES payment_drafts (id),
  gateway text NOT NULL CHECK (char_length(gateway) BETWEEN 1 AND 50),
  idempotency_key text NOT NULL CHECK (char_length(idempotency_key) BETWEEN 16 AND 200),
  fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  reason text NOT NULL DEFAULT '' CHECK (char_length(reason) <= 255),
  state text NOT NULL DEFAULT 'requested' CHECK (state IN ('requested', 'sent', 'succeeded', 'failed', 'review')),
  refunded_before_minor bigint CHECK (refunded_before_minor >= 0), -- what was given back when the PSP was asked
  sent_at timestamptz, -- when the PSP was first asked under the present try
  accepted boolean NOT NULL DEFAULT false, -- the PSP said that it has it: never sent again
  error text CHECK (char_length(error) <= 200),
  next_check_at timestamptz,
  attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  version int NOT NULL DEFAULT 0 CHECK (version >= 0),
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  UNIQUE (draft_id, idempotency_key),
  CHECK (state <> 'sent' OR (sent_at IS NOT NULL AND refunded_before_minor IS NOT NULL)),
  CHECK ((state IN ('requested', 'sent')) = (next_check_at IS NOT NULL))
);
-- One in flight per draft, and one that nobody can decide counts: what the PSP gave back is told only as a total.
CREATE UNIQUE INDEX refunds_in_flight ON refunds (draft_id) WHERE state IN ('requested', 'sent', 'review');
CREATE INDEX refunds_due ON refunds (next_check_at) WHERE next_check_at IS NOT NULL;

ALTER TABLE payment_drafts ADD COLUMN otp_tries smallint NOT NULL DEFAULT 0 CHECK (otp_tries BETWEEN 0 AND 5);

ALTER TABLE payment_events DROP CONSTRAINT payment_events_source_check;
ALTER TABLE payment_events ADD CONSTRAINT payment_events_source_check
  CHECK (source IN ('initiate', 'webhook', 'lookup', 'capture', 'refund', 'otp', 'operator', 'sweep'));
