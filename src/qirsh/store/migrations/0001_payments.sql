-- The tables of a payment server. Each text column has a bound, each rule that money depends on is a constraint.
-- No sequences, triggers or functions of ours: ids are UUIDv7 made by the application.

-- What the shop sells. Prices are minor units by currency: {"EGP": 30000, "USD": 1000}.
CREATE TABLE products (
  id text PRIMARY KEY CHECK (char_length(id) BETWEEN 1 AND 100),
  name jsonb NOT NULL,
  prices jsonb NOT NULL,
  purchasable boolean NOT NULL,
  updated_at timestamptz NOT NULL
);

-- One deliberate try to collect one amount for one product through one gateway. This row is the idempotency record.
CREATE TABLE payment_drafts (
  id uuid PRIMARY KEY,
  idempotency_key text NOT NULL UNIQUE CHECK (char_length(idempotency_key) BETWEEN 16 AND 200),
  fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
  request jsonb NOT NULL, -- the validated request and the product's name as shown: register is a function of this row
  product_id text NOT NULL CHECK (char_length(product_id) BETWEEN 1 AND 100),
  method text NOT NULL CHECK (char_length(method) BETWEEN 1 AND 50),
  gateway text NOT NULL CHECK (char_length(gateway) BETWEEN 1 AND 50),
  order_reference text CHECK (char_length(order_reference) BETWEEN 1 AND 200),
  amount_minor bigint NOT NULL CHECK (amount_minor > 0),
  currency char(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  state text NOT NULL DEFAULT 'pending' CHECK (state IN
    ('pending', 'awaiting_user_action', 'completed', 'failed', 'partially_refunded', 'refunded')),
  reason text CHECK (char_length(reason) <= 100),
  needs_review boolean NOT NULL DEFAULT false,
  refunded_minor bigint NOT NULL DEFAULT 0 CHECK (refunded_minor BETWEEN 0 AND amount_minor),
  transaction_reference_id text CHECK (char_length(transaction_reference_id) BETWEEN 1 AND 200),
  action jsonb, -- what the payer must do, as first answered
  payment_reference text CHECK (char_length(payment_reference) BETWEEN 1 AND 200),
  hinted_payment_reference text CHECK (char_length(hinted_payment_reference) BETWEEN 1 AND 200), -- unproven: asked about
  claimed_by uuid,
  claimed_until timestamptz, -- a lease on talking to the PSP; every answer releases it in its transaction
  in_doubt boolean NOT NULL DEFAULT false, -- a call may have reached the PSP: ask before sending
  registration_attempt smallint NOT NULL DEFAULT 1 CHECK (registration_attempt > 0),
  capture_attempt smallint NOT NULL DEFAULT 1 CHECK (capture_attempt > 0),
  capture_due boolean NOT NULL DEFAULT false,
  next_check_at timestamptz, -- when a worker looks at this row next; null: never by itself
  attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  version int NOT NULL DEFAULT 0 CHECK (version >= 0),
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
  UNIQUE (gateway, transaction_reference_id), -- one registration belongs to one draft
  UNIQUE (gateway, payment_reference), -- one payment at the PSP completes one draft
  CHECK (state <> 'awaiting_user_action' OR (transaction_reference_id IS NOT NULL AND action IS NOT NULL)),
  CHECK ((claimed_by IS NULL) = (claimed_until IS NULL)),
  CHECK (state = 'pending' OR claimed_by IS NULL),
  CHECK ((state IN ('partially_refunded', 'refunded')) = (refunded_minor > 0)),
  CHECK (state <> 'refunded' OR refunded_minor = amount_minor)
);
CREATE INDEX payment_drafts_due ON payment_drafts (next_check_at) WHERE next_check_at IS NOT NULL;
CREATE INDEX payment_drafts_order ON payment_drafts (order_reference) WHERE order_reference IS NOT NULL;

-- The journal: every fact that was folded into a draft, and what became of it. Only ever inserted.
CREATE TABLE payment_events (
  id uuid PRIMARY KEY,
  draft_id uuid NOT NULL REFERENCES payment_drafts (id),
  at timestamptz NOT NULL,
  source text NOT NULL CHECK (source IN ('initiate', 'webhook', 'lookup', 'capture', 'sweep')),
  event jsonb NOT NULL,
  verdict text NOT NULL CHECK (verdict IN ('applied', 'repeated', 'stale', 'capture', 'review')),
  review_reason text CHECK (char_length(review_reason) <= 100),
  state text NOT NULL CHECK (char_length(state) <= 50) -- the draft's state after it
);
CREATE INDEX payment_events_draft ON payment_events (draft_id, id);

-- What was heard before, for ever: narrow, so that it can be kept.
CREATE TABLE webhook_events (
  gateway text NOT NULL CHECK (char_length(gateway) BETWEEN 1 AND 50),
  event_id text NOT NULL CHECK (char_length(event_id) BETWEEN 1 AND 200),
  PRIMARY KEY (gateway, event_id)
);

-- Every authentic delivery as it came, with what became of it.
CREATE TABLE webhook_deliveries (
  id uuid PRIMARY KEY,
  received_at timestamptz NOT NULL,
  gateway text NOT NULL CHECK (char_length(gateway) BETWEEN 1 AND 50),
  event_id text CHECK (char_length(event_id) BETWEEN 1 AND 200),
  draft_id uuid REFERENCES payment_drafts (id),
  verdict text NOT NULL CHECK (verdict IN
    ('applied', 'repeated', 'stale', 'capture', 'review', 'lookup', 'unmatched', 'ignored')),
  body bytea NOT NULL,
  headers jsonb NOT NULL,
  query jsonb NOT NULL
);
CREATE INDEX webhook_deliveries_received ON webhook_deliveries (received_at);
CREATE INDEX webhook_deliveries_draft ON webhook_deliveries (draft_id) WHERE draft_id IS NOT NULL;

-- Facts that found no draft yet: tried again until one appears.
CREATE TABLE unmatched_events (
  id uuid PRIMARY KEY,
  gateway text NOT NULL CHECK (char_length(gateway) BETWEEN 1 AND 50),
  event_id text NOT NULL CHECK (char_length(event_id) BETWEEN 1 AND 200),
  fact jsonb NOT NULL,
  received_at timestamptz NOT NULL,
  flagged boolean NOT NULL DEFAULT false,
  next_check_at timestamptz,
  attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  version int NOT NULL DEFAULT 0 CHECK (version >= 0),
  UNIQUE (gateway, event_id)
);
CREATE INDEX unmatched_events_due ON unmatched_events (next_check_at) WHERE next_check_at IS NOT NULL;

-- Telling the shop to deliver, once: one row per completed draft, and the constraint says so.
CREATE TABLE fulfilments (
  id uuid PRIMARY KEY,
  draft_id uuid NOT NULL UNIQUE REFERENCES payment_drafts (id),
  state text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'delivered', 'dead')),
  created_at timestamptz NOT NULL,
  delivered_at timestamptz,
  last_error text CHECK (char_length(last_error) <= 200),
  next_check_at timestamptz,
  attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  version int NOT NULL DEFAULT 0 CHECK (version >= 0),
  CHECK ((state = 'delivered') = (delivered_at IS NOT NULL)),
  CHECK ((state = 'due') = (next_check_at IS NOT NULL))
);
CREATE INDEX fulfilments_due ON fulfilments (next_check_at) WHERE next_check_at IS NOT NULL;
