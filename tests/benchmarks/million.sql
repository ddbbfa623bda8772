-- The books of a shop that has taken a million payments: %(n)s of them, a thirtieth in the last day.
-- Every number is a function of the row's own, so that two runs fill in the same.

INSERT INTO auth_user (username, password, first_name, last_name, email, is_superuser, is_staff, is_active, date_joined)
SELECT 'shopper' || i, '', '', '', '', false, false, true, now() FROM generate_series(1, 1000) AS i;

CREATE TEMPORARY TABLE seeds AS
SELECT
    i,
    md5('transaction' || i)::uuid AS id,
    CASE
        WHEN mod(i, 30) = 0 THEN now() - (mod(i * 7919, 86000) || ' seconds')::interval
        ELSE now() - interval '1 day' - (mod(i * 7919, 34560000) || ' seconds')::interval
    END AS created_at,
    CASE WHEN mod(i, 10000) = 0 THEN 'rare' WHEN mod(i, 8) = 0 THEN 'other' ELSE 'hosted' END AS gateway,
    CASE
        WHEN mod(i, 300) = 0 THEN (ARRAY['created', 'pending', 'processing', 'authorized'])[1 + mod(i / 300, 4)]
        WHEN mod(i, 997) = 0 THEN 'held'
        WHEN mod(i, 17) = 0 THEN 'failed'
        WHEN mod(i, 23) = 0 THEN 'expired'
        WHEN mod(i, 41) = 0 THEN 'canceled'
        ELSE 'success'
    END AS state,
    (500 + mod(i * 31, 90000))::bigint AS amount
FROM generate_series(1, %(n)s::bigint) AS i;

INSERT INTO gatewaypay_transaction (
    id, order_id, gateway, description, amount_minor, currency, state, reason, late, attention, version,
    captured_minor, authorized_minor, refunded_minor, manual_capture, agreed_minor, capturing_minor, refunding_minor,
    returned_minor, undone_minor, gateway_reference, payment_reference, key_number, key_since, next_action, return_url,
    user_id, email_digest, token_hash, owner_key, idempotency_key, fingerprint, created_at, updated_at, expires_at,
    next_poll_at, poll_attempts, claimed_until, refreshed_at, waiting_since, attention_told
)
SELECT
    id, 'A-' || (100000000 + i), gateway, 'Order A-' || (100000000 + i), amount, 'EUR', state,
    CASE state WHEN 'failed' THEN 'insufficient_funds' WHEN 'held' THEN 'amount_mismatch' ELSE '' END,
    state = 'success' AND mod(i, 211) = 0,
    CASE
        WHEN state = 'held' THEN 'mismatch'
        WHEN state = 'success' AND mod(i, 211 * 3) = 0 THEN 'late'
        WHEN state = 'success' AND mod(i, 2003) = 0 THEN 'duplicate_payment'
        WHEN state = 'success' AND mod(i, 9001) = 0 THEN 'disputed'
        WHEN state = 'success' AND mod(i, 20011) = 0 THEN 'hook_dead'
        ELSE ''
    END,
    3,
    CASE state WHEN 'success' THEN amount WHEN 'held' THEN amount / 2 ELSE 0 END,
    CASE state WHEN 'authorized' THEN amount ELSE 0 END,
    0, state = 'authorized', NULL, 0,
    CASE WHEN state = 'success' AND mod(i, 20) = 1 THEN amount / 2 ELSE 0 END,
    CASE WHEN state = 'success' AND mod(i, 20) = 1 THEN amount / 2 ELSE 0 END,
    0, 'ps_' || md5('session' || i), CASE WHEN mod(i, 3) = 0 THEN '' ELSE 'pi_' || md5('payment' || i) END,
    0, NULL, NULL, '/orders/' || i, CASE WHEN mod(i, 5) = 0 THEN 1 + mod(i, 1000) + (SELECT min(id) - 1 FROM auth_user) END,
    encode(sha256(('shopper' || mod(i, 300000))::bytea), 'hex'), md5('token' || i), 'guest', '', '',
    created_at, created_at + interval '1 minute', created_at + interval '30 minutes',
    CASE WHEN state IN ('created', 'pending', 'processing') THEN now() + interval '1 hour' END, 0, NULL, NULL, NULL, ''
FROM seeds ORDER BY created_at;

INSERT INTO gatewaypay_callback (
    id, gateway, event_id, state, transaction_id, transaction_ref, gateway_reference, update, body_sha256,
    received_at, processed_at, attempts, next_attempt_at, last_error
)
SELECT
    md5('callback' || i)::uuid, gateway, 'evt_' || md5('event' || i),
    CASE WHEN mod(i, 25000) = 0 THEN 'dead' WHEN mod(i, 50001) = 0 THEN 'unmatched' ELSE 'processed' END,
    CASE WHEN mod(i, 50001) = 0 THEN NULL ELSE id END, id::text, 'ps_' || md5('session' || i),
    jsonb_build_object('state', state, 'raw', jsonb_build_object('status', state)), md5('body' || i),
    created_at + interval '50 seconds',
    CASE WHEN mod(i, 25000) = 0 OR mod(i, 50001) = 0 THEN NULL ELSE created_at + interval '50.2 seconds' END,
    0, NULL, CASE WHEN mod(i, 25000) = 0 THEN 'ZeroDivisionError: division by zero' ELSE '' END
FROM seeds ORDER BY created_at;

INSERT INTO gatewaypay_transactionevent (
    transaction_id, kind, version, from_state, to_state, reason, late, attention, captured_minor, authorized_minor,
    refunded_minor, source, evidence, note, callback_id, actor_id, created_at
)
SELECT
    id, 'moved', step, CASE step WHEN 0 THEN '' ELSE 'created' END, CASE step WHEN 0 THEN 'created' ELSE state END, '',
    false, '', 0, 0, 0, CASE step WHEN 0 THEN 'initiate' ELSE 'callback' END, '{}', '',
    CASE step WHEN 1 THEN md5('callback' || i)::uuid END, NULL,
    created_at + step * interval '1 minute'
FROM seeds, generate_series(0, 1) AS step ORDER BY created_at;

INSERT INTO gatewaypay_fulfilment (
    key, kind, order_id, transaction_id, state, attempts, next_attempt_at, last_error, created_at, done_at
)
SELECT
    CASE state WHEN 'success' THEN 'fulfil:A-' || (100000000 + i) ELSE 'release:' || id END,
    CASE state WHEN 'success' THEN 'fulfil' ELSE 'release' END,
    'A-' || (100000000 + i), id, CASE WHEN mod(i, 20011) = 0 THEN 'dead' ELSE 'done' END, 1, NULL, '',
    created_at + interval '1 minute', created_at + interval '61 seconds'
FROM seeds WHERE state IN ('success', 'failed', 'expired', 'canceled') ORDER BY created_at;

INSERT INTO gatewaypay_refund (
    id, transaction_id, amount_minor, state, reason, actor_id, idempotency_key, gateway_reference, version,
    submitted_at, attempts, next_attempt_at, last_error, created_at, updated_at, "foreign", needs_approval, approver_id
)
SELECT
    md5('refund' || i)::uuid, id, amount / 2,
    CASE WHEN mod(i, 20000) = 1 THEN 'unknown' WHEN mod(i, 20000) = 10001 THEN 'requested' WHEN mod(i, 200) = 41 THEN 'failed'
         ELSE 'succeeded' END,
    'Sent back', NULL, '', 're_' || md5('refund' || i), 2, created_at + interval '2 days', 1, NULL, '',
    created_at + interval '2 days', created_at + interval '2 days', false, mod(i, 20000) = 10001, NULL
FROM seeds WHERE state = 'success' AND mod(i, 20) = 1 ORDER BY created_at;

INSERT INTO gatewaypay_dispute (
    id, transaction_id, gateway_reference, state, amount_minor, currency, reason, due_at, opened_at, updated_at
)
SELECT
    i, id, 'dp_' || i, CASE WHEN mod(i, 9001 * 9) = 0 THEN 'open' ELSE 'lost' END, amount, 'EUR', 'fraudulent',
    now() + (mod(i, 14) || ' days')::interval, created_at + interval '9 days', created_at + interval '9 days'
FROM seeds WHERE state = 'success' AND mod(i, 9001) = 0 ORDER BY created_at;
