-- name: spoken
json((SELECT json_group_array(json_array(id, finished_at, body, answer)) FROM
    (SELECT id, finished_at, body,
            (SELECT group_concat(body, char(10, 10)) FROM
                (SELECT body FROM replies WHERE outbox_id = o.id AND state = 'sent' AND kind = 'answer'
                  ORDER BY part)) AS answer
       FROM outbox o WHERE user_id = u.id AND state IN ('done', 'failed'){{decided}}
      ORDER BY finished_at DESC, id DESC LIMIT :rows))),
json((SELECT json_group_array(json_array(planned_at, body)) FROM
    (SELECT planned_at, body FROM replies WHERE user_id = u.id AND kind = 'human' AND state = 'sent'{{written}}
      ORDER BY planned_at DESC, id DESC LIMIT :messages)))

-- name: standing
lead.id, u.noticed_at, u.limited_at,
json((SELECT json_array(count(*) FILTER (WHERE planned_at > :hour), count(*)) FROM replies
       WHERE user_id = u.id AND kind = 'answer' AND part = 1 AND planned_at > max(:day, coalesce(u.resumed_at, '')))),
{{spoken}}

-- name: leads
json_each(:leads) CROSS JOIN outbox lead ON lead.id = value CROSS JOIN users u ON u.id = lead.user_id

-- name: used
SELECT input_tokens, output_tokens FROM usage WHERE day = ?
