-- Every statement of Qirsh, by name. Times are the database's: now() plus the clock's offset, which is zero in production.

-- name: find_for_initiate
-- The draft of a key and the product of a request, in one round trip. One row always.
SELECT d.*,
  p.id AS catalogue_id, p.name AS catalogue_name, p.prices AS catalogue_prices, p.purchasable AS catalogue_purchasable
FROM (SELECT 1) AS one
LEFT JOIN payment_drafts d ON d.idempotency_key = $1
LEFT JOIN products p ON p.id = $2;

-- name: claim_by_key
-- Write the draft, or take over the one of this key when nobody is at it. A lapsed claim means that a caller died
-- somewhere between the PSP and us, so whoever takes over is in doubt.
INSERT INTO payment_drafts AS d (
  id, idempotency_key, fingerprint, request, product_id, method, gateway, order_reference, amount_minor, currency,
  claimed_by, claimed_until, next_check_at, created_at, updated_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
  $11, now() + $12 + $13::interval, now() + $12 + $14::interval, now() + $12, now() + $12, now() + $12 + $15::interval)
ON CONFLICT (idempotency_key) DO UPDATE SET
  in_doubt = d.in_doubt OR d.claimed_until IS NOT NULL, claimed_by = excluded.claimed_by,
  claimed_until = excluded.claimed_until, next_check_at = excluded.next_check_at, version = d.version + 1
WHERE d.fingerprint = excluded.fingerprint AND d.state = 'pending' AND d.expires_at > now() + $12
  AND (d.claimed_until IS NULL OR d.claimed_until <= now() + $12)
RETURNING d.*;

-- name: draft_by_key
SELECT * FROM payment_drafts WHERE idempotency_key = $1;

-- name: claim_by_id
-- A worker takes over a pending draft that nobody is at.
UPDATE payment_drafts SET
  in_doubt = in_doubt OR claimed_until IS NOT NULL,
  claimed_by = $2, claimed_until = now() + $3 + $4::interval, next_check_at = now() + $3 + $5::interval,
  version = version + 1
WHERE id = $1 AND version = $6 AND state = 'pending' AND (claimed_until IS NULL OR claimed_until <= now() + $3)
RETURNING *;

-- name: move_to_gateway
-- Failover: the row names the gateway before that gateway is called.
UPDATE payment_drafts SET gateway = $3, version = version + 1, updated_at = now() + $4
WHERE id = $1 AND claimed_by = $2 AND state = 'pending' AND NOT in_doubt
RETURNING *;

-- name: release_claim
-- The attempt ended without a registration. Doubt, once there, stays, and is looked into soon; without it nothing was
-- sent, so there is nothing to ask until the draft expires. A look-up that was staged meanwhile stays due. One that has
-- expired is about to be ended by whoever releases it, and would be asked about once more if it were due at once.
UPDATE payment_drafts SET
  claimed_by = NULL, claimed_until = NULL, in_doubt = in_doubt OR $3, version = version + 1,
  next_check_at = CASE WHEN next_check_at <= now() + $4 THEN next_check_at
    WHEN in_doubt OR $3 OR expires_at <= now() + $4 THEN now() + $4 + $5::interval ELSE expires_at END
WHERE id = $1 AND claimed_by = $2 AND state = 'pending'
RETURNING *;

-- name: draft_by_id
SELECT * FROM payment_drafts WHERE id = $1;

-- name: draft_by_hint
SELECT * FROM payment_drafts WHERE gateway = $1 AND (transaction_reference_id = $2 OR id = $3)
ORDER BY transaction_reference_id IS NOT DISTINCT FROM $2 DESC LIMIT 1;

-- name: due_draft
SELECT *, expires_at <= now() + $3 AS expired FROM payment_drafts WHERE id = $1 AND version = $2;

-- name: drafts_moved
SELECT d.* FROM unnest($1::uuid[], $2::int[]) AS known (id, version)
JOIN payment_drafts d ON d.id = known.id AND d.version <> known.version;

-- name: draft_by_transaction_reference
SELECT * FROM payment_drafts WHERE gateway = $1 AND transaction_reference_id = $2;

-- name: draft_by_payment_reference
SELECT * FROM payment_drafts WHERE gateway = $1 AND payment_reference = $2;

-- name: lock_by_id
SELECT * FROM payment_drafts WHERE id = $1 FOR UPDATE;

-- name: lock_by_transaction_reference
SELECT * FROM payment_drafts WHERE gateway = $1 AND transaction_reference_id = $2 FOR UPDATE;

-- name: lock_by_payment_reference
SELECT * FROM payment_drafts WHERE gateway = $1 AND payment_reference = $2 FOR UPDATE;

-- name: save_fold
-- What a fold changed, whole or not at all: the draft as it was read, its journal, what the shop must be told, and the
-- delivery that brought the news. No row where the draft moved since, or where the event was heard before.
-- Every other part reads `draft`, so the draft is locked before anything is written that refers to it.
-- A second payment of an order breaks fulfilments_order, unless $33 says that it is known to be one.
WITH draft AS (
  UPDATE payment_drafts SET
    state = $3, reason = $4, needs_review = $5, refunded_minor = $6, transaction_reference_id = $7,
    payment_reference = $8, action = $9, in_doubt = $10, capture_due = $11, capture_attempt = $12,
    claimed_by = CASE WHEN $3 <> 'pending' OR claimed_by = $13 THEN NULL ELSE claimed_by END,
    claimed_until = CASE WHEN $3 <> 'pending' OR claimed_by = $13 THEN NULL ELSE claimed_until END,
    next_check_at = CASE WHEN $14 OR ($15::interval > interval '0' AND next_check_at <= now() + $16) THEN next_check_at
      -- What has ended is looked up only where somebody staged that, and whoever staged it has not heard yet.
      WHEN $15 IS NULL AND (state NOT IN ('pending', 'awaiting_user_action') OR next_check_at <= now() + $16)
        THEN next_check_at
      ELSE now() + $16 + $15::interval END,
    attempts = CASE WHEN $14 THEN attempts ELSE 0 END,
    version = version + 1, updated_at = CASE WHEN $17 THEN now() + $16 ELSE updated_at END
  WHERE id = $1 AND version = $2 AND NOT EXISTS (SELECT FROM webhook_events WHERE gateway = $25 AND event_id = $26)
  RETURNING claimed_by, version, attempts, updated_at, order_reference
), journal AS (
  INSERT INTO payment_events (id, draft_id, draft_version, at, source, event, verdict, review_reason, state)
  SELECT e.id, $1, draft.version, now() + $16, $18, e.event::jsonb, e.verdict, e.review_reason, e.state
  FROM draft, unnest($19::uuid[], $20::text[], $21::text[], $22::text[], $23::text[])
    AS e (id, event, verdict, review_reason, state)
), completed AS (
  INSERT INTO fulfilments (id, draft_id, order_reference, duplicate_of, created_at, next_check_at)
  SELECT $24, $1, draft.order_reference,
    CASE WHEN $33 THEN (SELECT f.draft_id FROM fulfilments f
      WHERE f.order_reference = draft.order_reference AND f.duplicate_of IS NULL) END,
    now() + $16, now() + $16
  FROM draft WHERE $24::uuid IS NOT NULL
  ON CONFLICT (draft_id, draft_version) DO NOTHING
), refunded AS (
  INSERT INTO fulfilments (id, draft_id, kind, draft_version, created_at, next_check_at)
  SELECT $32, $1, 'payment.refunded', draft.version, now() + $16, now() + $16 FROM draft WHERE $32::uuid IS NOT NULL
), heard AS (
  INSERT INTO webhook_events (gateway, event_id) SELECT $25, $26 FROM draft WHERE $26::text IS NOT NULL
), delivery AS (
  INSERT INTO webhook_deliveries (id, received_at, gateway, event_id, draft_id, verdict, body, headers, query)
  SELECT $27, now() + $16, $25, $26, $1, $28, $29, $30::jsonb, $31::jsonb FROM draft WHERE $27::uuid IS NOT NULL
)
SELECT claimed_by, version, attempts, updated_at FROM draft;

-- name: order_is_paid
-- By another draft than this one, and not all of it was given back.
SELECT EXISTS (SELECT FROM payment_drafts
  WHERE order_reference = $1 AND id <> $2 AND state IN ('completed', 'partially_refunded'));

-- name: vacate_order
-- An order whose money is all gone again can be paid anew: whoever holds it as its first payment lets go of it.
UPDATE fulfilments SET order_reference = NULL
WHERE order_reference = $1 AND duplicate_of IS NULL AND NOT EXISTS (SELECT FROM payment_drafts
  WHERE order_reference = $1 AND id <> $2 AND state IN ('completed', 'partially_refunded'))
RETURNING true;

-- name: stage_siblings
-- Nobody waits for a row that somebody else holds, as two siblings that were paid at once would for the others': such
-- a row is looked at when its own time comes. One that has ended and is asked about still may be payable at its PSP.
UPDATE payment_drafts SET next_check_at = now() + $3, version = version + 1
WHERE id IN (SELECT id FROM payment_drafts
  WHERE order_reference = $1 AND id <> $2
    AND (state IN ('pending', 'awaiting_user_action') OR state = 'failed' AND next_check_at IS NOT NULL)
  FOR UPDATE SKIP LOCKED);

-- name: reschedule_draft
-- A look-up's last word, fenced: whoever moved the draft meanwhile has set its next check already.
UPDATE payment_drafts SET attempts = attempts + $5, version = version + 1,
  next_check_at = CASE WHEN $4::interval IS NULL THEN NULL
    WHEN state IN ('pending', 'awaiting_user_action') AND expires_at > now() + $3
    THEN least(now() + $3 + $4::interval, expires_at) ELSE now() + $3 + $4::interval END
WHERE id = $1 AND version = $2;

-- name: capture_answered
UPDATE payment_drafts SET capture_due = false, attempts = 0, version = version + 1, next_check_at = now() + $3 + $4::interval
WHERE id = $1 AND version = $2;

-- name: stage_lookup
-- Ask the PSP now. The version moves, so that a look-up already under way does not have the last word.
UPDATE payment_drafts SET next_check_at = now() + $2, version = version + 1,
  hinted_payment_reference = coalesce($3, hinted_payment_reference)
WHERE id = $1;

-- name: stage_lookup_soon
-- The same, where nobody is about to ask or is asking: two look-ups that each stage one more for the other never end.
-- Whoever dies at his leaves the draft due by his lease.
UPDATE payment_drafts SET next_check_at = now() + $2, version = version + 1,
  hinted_payment_reference = coalesce($3, hinted_payment_reference)
WHERE id = $1 AND (next_check_at IS NULL OR next_check_at > now() + $2 + $4::interval);

-- name: stage_lookup_of_open
UPDATE payment_drafts SET next_check_at = now() + $2, version = version + 1
WHERE id = $1 AND gateway = $3 AND state IN ('pending', 'awaiting_user_action', 'failed');

-- name: remember_event
INSERT INTO webhook_events (gateway, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true;

-- name: record_delivery
INSERT INTO webhook_deliveries (id, received_at, gateway, event_id, draft_id, verdict, body, headers, query)
VALUES ($1, now() + $2, $3, $4, $5, $6, $7, $8, $9);

-- name: keep_unmatched
INSERT INTO unmatched_events (id, gateway, event_id, fact, received_at, next_check_at)
VALUES ($1, $2, $3, $4, now() + $5, now() + $5 + $6::interval) ON CONFLICT (gateway, event_id) DO NOTHING;

-- name: unmatched_by_id
SELECT fact, attempts, version, received_at < now() + $2 - $3::interval AS old FROM unmatched_events WHERE id = $1;

-- name: unmatched_waiting
SELECT fact, attempts, version, received_at < now() + $1 - $2::interval AS old FROM unmatched_events
WHERE attempts >= $3 ORDER BY id;

-- name: forget_unmatched
DELETE FROM unmatched_events WHERE id = $1;

-- name: reschedule_unmatched
UPDATE unmatched_events SET
  next_check_at = now() + $3 + $4::interval, attempts = attempts + 1, version = version + 1, flagged = flagged OR $5
WHERE id = $1 AND version = $2;

-- name: fulfilment_by_id
-- It waits while the shop has not been told that the draft was paid, or of an earlier change that is still being told.
-- No duplicate of what the shop never heard of, because its money was lost before.
SELECT f.id AS fulfilment_id, f.kind AS fulfilment_kind, CASE WHEN NOT EXISTS (
    SELECT FROM payment_drafts p JOIN fulfilments e ON e.draft_id = p.id AND e.kind = 'payment.completed'
    WHERE p.id = f.duplicate_of AND p.state = 'failed' AND e.state <> 'delivered'
  ) THEN f.duplicate_of END AS fulfilment_duplicate_of,
  f.state AS fulfilment_state, f.attempts AS fulfilment_attempts, f.version AS fulfilment_version,
  f.created_at AS fulfilment_created_at, EXISTS (SELECT FROM fulfilments e
    WHERE e.draft_id = f.draft_id AND e.draft_version < f.draft_version
      AND (e.state = 'due' OR e.state = 'dead' AND e.draft_version = 0)) AS fulfilment_waits, d.*
FROM fulfilments f JOIN payment_drafts d ON d.id = f.draft_id WHERE f.id = $1;

-- name: fulfilments_of_draft
SELECT * FROM fulfilments WHERE draft_id = $1 ORDER BY draft_version;

-- name: fulfilment_delivered
-- What waited for it is due now.
WITH delivered AS (
  UPDATE fulfilments SET state = 'delivered', delivered_at = now() + $3, next_check_at = NULL, last_error = NULL,
    attempts = attempts + 1, version = version + 1
  WHERE id = $1 AND version = $2 AND state = 'due'
  RETURNING draft_id, draft_version
)
UPDATE fulfilments f SET next_check_at = now() + $3, version = f.version + 1 FROM delivered
WHERE f.draft_id = delivered.draft_id AND f.draft_version > delivered.draft_version AND f.state = 'due';

-- name: fulfilment_waits
-- No try, so no step of the schedule.
UPDATE fulfilments SET next_check_at = now() + $3 + $4::interval, version = version + 1
WHERE id = $1 AND version = $2 AND state = 'due';

-- name: fulfilment_failed
-- No interval left: a dead letter, which an operator can send again.
UPDATE fulfilments SET last_error = $5, attempts = attempts + 1, version = version + 1,
  next_check_at = now() + $3 + $4::interval,
  state = CASE WHEN $4::interval IS NULL THEN 'dead' ELSE 'due' END
WHERE id = $1 AND version = $2 AND state = 'due';

-- name: fulfilment_replayed
-- Due as on its first day, whatever became of it.
UPDATE fulfilments SET state = 'due', delivered_at = NULL, last_error = NULL, next_check_at = now() + $2, attempts = 0,
  version = version + 1
WHERE id = $1
RETURNING *;

-- name: lease_due_drafts
-- Rows whose time has come, leased so that no other sweep takes them; what is not finished comes due again by itself.
UPDATE payment_drafts SET next_check_at = now() + $1 + $2::interval
WHERE id IN (SELECT id FROM payment_drafts WHERE next_check_at <= now() + $1
    AND (claimed_until IS NULL OR claimed_until <= now() + $1) AND gateway = ANY ($4)
  ORDER BY next_check_at LIMIT $3 FOR UPDATE SKIP LOCKED)
RETURNING id, version, gateway;

-- name: lease_due_unmatched
UPDATE unmatched_events SET next_check_at = now() + $1 + $2::interval
WHERE id IN (SELECT id FROM unmatched_events WHERE next_check_at <= now() + $1 AND gateway = ANY ($4)
  ORDER BY next_check_at LIMIT $3 FOR UPDATE SKIP LOCKED)
RETURNING id, version, gateway;

-- name: lease_due_fulfilments
UPDATE fulfilments SET next_check_at = now() + $1 + $2::interval
WHERE id IN (SELECT id FROM fulfilments WHERE next_check_at <= now() + $1 AND $4::text[] IS NOT NULL
  ORDER BY next_check_at LIMIT $3 FOR UPDATE SKIP LOCKED)
RETURNING id, version, '' AS gateway;

-- name: lease_due_daily
UPDATE daily_work SET next_check_at = now() + $1 + $2::interval
WHERE id IN (SELECT id FROM daily_work WHERE next_check_at <= now() + $1 AND name = ANY ($4)
  ORDER BY next_check_at LIMIT $3 FOR UPDATE SKIP LOCKED)
RETURNING id, version, '' AS gateway;

-- name: plan_daily_work
INSERT INTO daily_work (id, name, next_check_at)
SELECT w.id, w.name, now() + $3 FROM unnest($1::uuid[], $2::text[]) AS w (id, name)
ON CONFLICT (name) DO NOTHING;

-- name: take_daily_work
UPDATE daily_work SET next_check_at = now() + $3 + $4::interval, version = version + 1
WHERE id = $1 AND version = $2
RETURNING name, version;

-- name: daily_work_ended
UPDATE daily_work SET next_check_at = now() + $3 + $4::interval, version = version + 1,
  attempts = CASE WHEN $5 THEN 0 ELSE attempts + 1 END
WHERE id = $1 AND version = $2;

-- name: notify
SELECT pg_notify($1, $2);

-- name: put_product
INSERT INTO products (id, name, prices, purchasable, updated_at) VALUES ($1, $2, $3, $4, now())
ON CONFLICT (id) DO UPDATE
SET name = excluded.name, prices = excluded.prices, purchasable = excluded.purchasable, updated_at = excluded.updated_at;

-- name: put_product_if_absent
INSERT INTO products (id, name, prices, purchasable, updated_at) VALUES ($1, $2, $3, $4, now())
ON CONFLICT (id) DO NOTHING;

-- name: product_by_id
SELECT id, name, prices, purchasable FROM products WHERE id = $1;

-- name: products_after
SELECT id, name, prices, purchasable FROM products WHERE id > $1 ORDER BY id LIMIT $2;

-- name: journal
-- By the draft's version, as the folds followed each other: ids are made by clocks, and those of two servers differ.
SELECT at, source, event, verdict, review_reason, state FROM payment_events WHERE draft_id = $1
ORDER BY coalesce(draft_version, 0), id;

-- name: drafts_with_journal
-- A page of drafts by id, each with its journal as both stood at one moment.
SELECT d.*, (SELECT coalesce(json_agg(json_build_object(
    'event', e.event, 'verdict', e.verdict, 'review_reason', e.review_reason, 'state', e.state)
    ORDER BY coalesce(e.draft_version, 0), e.id), '[]')
  FROM payment_events e WHERE e.draft_id = d.id) AS journal
FROM payment_drafts d WHERE $1::uuid IS NULL OR d.id > $1 ORDER BY d.id LIMIT $2;

-- name: count_drafts
SELECT count(*) FROM payment_drafts;

-- name: drafts_listed
-- Newest first; each filter that is null takes every draft.
SELECT * FROM payment_drafts
WHERE ($1::uuid IS NULL OR id < $1) AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR gateway = $3)
  AND ($4::boolean IS NULL OR needs_review = $4) AND ($5::text IS NULL OR order_reference = $5)
  AND ($6::timestamptz IS NULL OR created_at >= $6) AND ($7::timestamptz IS NULL OR created_at < $7)
ORDER BY id DESC LIMIT $8;

-- name: unsettled_drafts
-- Of what a PSP may know better: open, under review, failed and not long over, with a refund under way, and paid since
-- $1. Not those that somebody is registering at this moment.
SELECT id FROM payment_drafts d
WHERE (claimed_until IS NULL OR claimed_until <= now() + $2)
  AND (state IN ('pending', 'awaiting_user_action') OR needs_review
    OR (state = 'failed' AND expires_at > now() + $2 - $3::interval)
    OR (state IN ('completed', 'partially_refunded', 'refunded') AND updated_at >= $1)
    OR EXISTS (SELECT FROM refunds r WHERE r.draft_id = d.id AND r.state IN ('requested', 'sent', 'review')))
ORDER BY id;

-- name: delivery_by_id
SELECT * FROM webhook_deliveries WHERE id = $1;

-- name: deliveries_listed
-- Newest first, without their bodies; each filter that is null takes every delivery.
SELECT id, received_at, gateway, event_id, draft_id, verdict, octet_length(body) AS bytes FROM webhook_deliveries
WHERE ($1::uuid IS NULL OR id < $1) AND ($2::uuid IS NULL OR draft_id = $2) AND ($3::text IS NULL OR gateway = $3)
  AND ($4::text IS NULL OR verdict = $4)
ORDER BY id DESC LIMIT $5;

-- name: refund_by_key
SELECT * FROM refunds WHERE draft_id = $1 AND idempotency_key = $2;

-- name: refund_in_flight
SELECT * FROM refunds WHERE draft_id = $1 AND state IN ('requested', 'sent', 'review');

-- name: refunds_of_draft
SELECT * FROM refunds WHERE draft_id = $1 ORDER BY id;

-- name: insert_refund
INSERT INTO refunds (id, draft_id, gateway, idempotency_key, fingerprint, amount_minor, reason, next_check_at, created_at,
  updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8, now() + $8, now() + $8)
RETURNING *;

-- name: due_refund
SELECT * FROM refunds WHERE id = $1 AND version = $2 AND state IN ('requested', 'sent');

-- name: refund_by_id
SELECT * FROM refunds WHERE id = $1;

-- name: refund_sent
-- Noted before the PSP is asked, with what had been given back until then. Nobody else may ask meanwhile.
UPDATE refunds SET state = 'sent', refunded_before_minor = $3, sent_at = now() + $4, accepted = false, error = NULL,
  next_check_at = now() + $4 + $5::interval, attempts = 0, version = version + 1, updated_at = now() + $4
WHERE id = $1 AND version = $2 AND state = 'requested'
RETURNING *;

-- name: refund_unsent
-- The PSP has not got it: it may be asked anew.
UPDATE refunds SET state = 'requested', sent_at = NULL, refunded_before_minor = NULL, error = $5,
  next_check_at = now() + $3 + $4::interval, attempts = $6, version = version + 1, updated_at = now() + $3
WHERE id = $1 AND version = $2 AND state IN ('requested', 'sent');

-- name: refund_waits
UPDATE refunds SET next_check_at = now() + $3 + $4::interval, accepted = accepted OR $5, error = $6,
  attempts = attempts + 1, version = version + 1, updated_at = now() + $3
WHERE id = $1 AND version = $2 AND state = 'sent';

-- name: refund_ended
-- By whoever worked on it, so only from where it was.
UPDATE refunds SET state = $3, error = $4, next_check_at = NULL, version = version + 1, updated_at = now() + $5
WHERE id = $1 AND version = $2 AND state IN ('requested', 'sent');

-- name: refund_told
-- The PSP named our refund and said what became of it: that counts whatever we believed.
UPDATE refunds SET state = $3, error = $4, next_check_at = NULL, version = version + 1, updated_at = now() + $5
WHERE id = $1 AND draft_id = $2 AND state <> $3
RETURNING true;

-- name: lease_due_refunds
UPDATE refunds SET next_check_at = now() + $1 + $2::interval
WHERE id IN (SELECT id FROM refunds WHERE next_check_at <= now() + $1 AND gateway = ANY ($4)
  ORDER BY next_check_at LIMIT $3 FOR UPDATE SKIP LOCKED)
RETURNING id, version, gateway;

-- name: count_otp_try
-- Counted before the PSP is asked, so that no number of callers at once has more than the tries there are.
UPDATE payment_drafts SET otp_tries = otp_tries + 1 WHERE id = $1 AND state = 'awaiting_user_action' AND otp_tries < $2
RETURNING otp_tries;

-- name: uncount_otp_try
UPDATE payment_drafts SET otp_tries = otp_tries - 1 WHERE id = $1 AND otp_tries > 0;

-- name: database_time
SELECT now();

-- name: months
-- The partitions of a table by the ids they hold, oldest first; the first of all has no beginning.
SELECT name, substring(bounds FROM 'FROM \(''([0-9a-f-]+)''\)')::uuid AS begins,
  substring(bounds FROM 'TO \(''([0-9a-f-]+)''\)')::uuid AS ends
FROM (SELECT c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass($1)) AS partitions
WHERE bounds <> 'DEFAULT' ORDER BY ends;

-- name: wait_briefly_for_locks
-- Whoever waits for a table's lock keeps all who come after waiting as well.
SET LOCAL lock_timeout = '2s';

-- name: lock_drafts_for_partitions
-- A new partition refers to the drafts, which takes this lock: first, as everybody locks them. One at a time.
LOCK TABLE payment_drafts IN SHARE ROW EXCLUSIVE MODE;

-- name: is_there_payment_events
SELECT EXISTS (SELECT FROM payment_events WHERE id >= $1 AND id < $2);

-- name: is_there_webhook_deliveries
SELECT EXISTS (SELECT FROM webhook_deliveries WHERE id >= $1 AND id < $2);

-- name: unsettled_in_month
-- Drafts that are open, under review or with a refund under way, with entries in a month of the journal.
SELECT id FROM payment_drafts d
WHERE (state IN ('pending', 'awaiting_user_action') OR needs_review
    OR EXISTS (SELECT FROM refunds r WHERE r.draft_id = d.id AND r.state IN ('requested', 'sent', 'review')))
  AND EXISTS (SELECT FROM payment_events e WHERE e.draft_id = d.id AND e.id >= $1 AND e.id < $2)
ORDER BY id;

-- name: remember_pruned
INSERT INTO pruned_months (name, table_name, ends, pruned_at) VALUES ($1, $2, $3, now())
ON CONFLICT (name) DO UPDATE
SET ends = greatest(pruned_months.ends, excluded.ends), pruned_at = excluded.pruned_at;

-- name: journal_pruned_until
SELECT ends FROM pruned_months WHERE table_name = 'payment_events' ORDER BY ends DESC LIMIT 1;

-- name: count_strays_payment_events
-- As delete_strays_payment_events.
SELECT count(*) FROM payment_events_default e
WHERE id < $1 AND NOT EXISTS (SELECT FROM payment_drafts d WHERE d.id = e.draft_id
  AND (d.state IN ('pending', 'awaiting_user_action') OR d.needs_review
    OR EXISTS (SELECT FROM refunds r WHERE r.draft_id = d.id AND r.state IN ('requested', 'sent', 'review'))));

-- name: delete_strays_payment_events
-- What no month took, once it is as old as a month that would be dropped. The same drafts keep it as keep a month.
WITH gone AS (
  DELETE FROM payment_events_default e
  WHERE id < $1 AND NOT EXISTS (SELECT FROM payment_drafts d WHERE d.id = e.draft_id
    AND (d.state IN ('pending', 'awaiting_user_action') OR d.needs_review
      OR EXISTS (SELECT FROM refunds r WHERE r.draft_id = d.id AND r.state IN ('requested', 'sent', 'review'))))
  RETURNING id
)
SELECT id FROM gone ORDER BY id DESC LIMIT 1;

-- name: count_strays_webhook_deliveries
SELECT count(*) FROM webhook_deliveries_default WHERE id < $1;

-- name: delete_strays_webhook_deliveries
WITH gone AS (DELETE FROM webhook_deliveries_default WHERE id < $1 RETURNING id)
SELECT id FROM gone ORDER BY id DESC LIMIT 1;

-- name: forget_payers
-- Not while somebody has to decide about the draft, who may need to ask the payer. `version` stays: nobody decides by it.
UPDATE payment_drafts SET request = request - 'payer'
WHERE id IN (SELECT id FROM payment_drafts
  WHERE request ? 'payer' AND state NOT IN ('pending', 'awaiting_user_action') AND NOT needs_review
    AND updated_at < now() + $1 - $2::interval
  ORDER BY updated_at LIMIT $3 FOR UPDATE SKIP LOCKED);

-- name: prune_queue_log
DELETE FROM pgqueuer.pgqueuer_log WHERE id IN (
  SELECT id FROM pgqueuer.pgqueuer_log WHERE created < now() - $1::interval ORDER BY created LIMIT $2);

-- name: prune_queue_statistics
DELETE FROM pgqueuer.pgqueuer_statistics WHERE id IN (
  SELECT id FROM pgqueuer.pgqueuer_statistics WHERE created < now() - $1::interval LIMIT $2);
