-- Telling the shop what went back, and that an order was paid twice.

ALTER TABLE fulfilments
  ADD COLUMN kind text NOT NULL DEFAULT 'payment.completed' CHECK (kind IN ('payment.completed', 'payment.refunded')),
  -- The draft's version when its refunded total changed, which is the order of its announcements; 0: it completed.
  ADD COLUMN draft_version int NOT NULL DEFAULT 0 CHECK (draft_version >= 0),
  ADD COLUMN order_reference text CHECK (char_length(order_reference) BETWEEN 1 AND 200), -- the draft's
  ADD COLUMN duplicate_of uuid REFERENCES payment_drafts (id), -- the draft that paid the order first
  ADD CHECK ((kind = 'payment.completed') = (draft_version = 0)),
  ADD CHECK (order_reference IS NULL OR kind = 'payment.completed'),
  ADD CHECK (duplicate_of IS NULL OR order_reference IS NOT NULL),
  ADD CHECK (duplicate_of <> draft_id),
  -- One for the completion, and one for each change of the total after it.
  ADD UNIQUE (draft_id, draft_version),
  DROP CONSTRAINT fulfilments_draft_id_key;

-- What was announced until now: the first payment of an order keeps it, and those that came later are its duplicates.
UPDATE fulfilments SET order_reference = known.order_reference, duplicate_of = nullif(known.first, known.draft_id)
FROM (
  SELECT f.draft_id, d.order_reference,
    first_value(f.draft_id) OVER (PARTITION BY d.order_reference ORDER BY f.created_at, f.id) AS first
  FROM fulfilments f JOIN payment_drafts d ON d.id = f.draft_id WHERE d.order_reference IS NOT NULL
) AS known
WHERE fulfilments.draft_id = known.draft_id;

-- An order is announced as paid by one draft; any other that pays it must say whose duplicate it is.
CREATE UNIQUE INDEX fulfilments_order ON fulfilments (order_reference)
  WHERE duplicate_of IS NULL AND order_reference IS NOT NULL;
