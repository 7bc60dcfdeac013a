-- name: held_columns
o.id, o.leased_at, (SELECT max(id) FROM replies), u.id, u.phone, u.bsuid, u.pair_full_at,
(SELECT max(part) FROM replies r WHERE r.outbox_id = o.id),
EXISTS (SELECT 1 FROM letters_begun WHERE user_id = u.id AND since > ?)

-- name: held
json_each(?) CROSS JOIN outbox o ON o.id = value ->> 0 AND o.state = 'leased' AND o.leased_at = value ->> 1
CROSS JOIN users u ON u.id = o.user_id

-- name: usage
INSERT INTO usage (day, answers, input_tokens, output_tokens) VALUES (?, ?, ?, ?)
ON CONFLICT (day) DO UPDATE SET answers = answers + excluded.answers,
                                input_tokens = input_tokens + excluded.input_tokens,
                                output_tokens = output_tokens + excluded.output_tokens

-- name: spoken
SELECT 1 FROM replies
 WHERE outbox_id = ? AND kind = 'answer' AND (state IN ('sending', 'sent') OR doubts > 0)

-- name: held_part
SELECT r.state, r.callback_id, r.tries, u.id, u.phone, u.bsuid, u.pair_full_at,
       iif(r.outbox_id IS NULL, r.tries = ? AND r.body = ?, o.leased_at = ?) AS held,
       CASE WHEN EXISTS (SELECT 1 FROM begun WHERE id = r.id) THEN 0
            WHEN r.outbox_id IS NULL THEN EXISTS (SELECT 1 FROM answers_begun WHERE user_id = u.id)
            ELSE EXISTS (SELECT 1 FROM letters_begun WHERE user_id = u.id AND since > ?) END
  FROM replies r JOIN users u ON u.id = r.user_id LEFT JOIN outbox o ON o.id = r.outbox_id WHERE r.id = ?

-- name: begin
UPDATE replies SET doubts = doubts + (state = 'sending'), state = 'sending', tries = tries + 1,
                   sending_at = ?, error = NULL WHERE id = ?

-- name: spend
UPDATE outbox SET error = ?, attempts = attempts + ? WHERE id = ?

-- name: take
UPDATE users SET pair_full_at = value ->> 1 FROM json_each(?) WHERE users.id = value ->> 0
