-- name: events
SELECT id AS row, at, event, 'u' || user_id AS user_id, message_id, stage, what, messages, who, address, duration_ms,
       input_tokens, output_tokens, code, error, request_id, text
  FROM events WHERE source = '{{source}}' AND id > ? AND id <= ?
