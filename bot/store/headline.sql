-- name: facts
-- What the headline is made of: why nobody is answered and since when, the owner's own doing first; else how many wait,
-- how long the oldest has, and how long it takes at the pace of those of the last minutes that ended with somebody
-- waiting. Whom somebody paused, and what is put off, is no backlog. Who waits longest is looked for among 1,000; where
-- all of them are such, since when whoever is next could be answered is told.
SELECT :now AS now,
       (SELECT json_group_array(json_array(what, at)) FROM (
          SELECT 'Paused' AS what, paused_at AS at FROM control WHERE paused_at IS NOT NULL
          UNION ALL
          SELECT CASE WHEN service = 'model' AND reason LIKE '%API key%' THEN 'The model refuses our key'
                      WHEN service = 'model' AND reason LIKE '%to be paid%' THEN 'The model wants to be paid'
                      WHEN service = 'model' THEN 'The model can''t be used'
                      WHEN code IN ('0', '102', '190') THEN 'WhatsApp refuses our token'
                      WHEN code = '131042' THEN 'WhatsApp wants to be paid'
                      ELSE 'WhatsApp can''t be used' END, opened_at
            FROM circuits WHERE state = 'open')) AS stopped,
       depth - (SELECT count(*) FROM outbox WHERE state = 'leased')
             - (SELECT coalesce(sum(depth), 0) FROM users WHERE paused_at IS NOT NULL) AS waiting,
       round((julianday(:now) - julianday(coalesce(
         (SELECT received_at
            FROM (SELECT user_id, received_at, not_before_at FROM outbox
                   WHERE finished_at IS NULL AND received_at <= :now ORDER BY received_at LIMIT 1000)
           CROSS JOIN users u ON u.id = user_id
           WHERE u.paused_at IS NULL AND coalesce(not_before_at, '') <= :now LIMIT 1),
         (SELECT min(ready_at) FROM users WHERE ready_at <= :now)))) * 86400, 3) AS oldest_seconds,
       (SELECT nullif(avg(answered), 0) FROM minutes
         WHERE at > strftime('%Y-%m-%dT%H:%M:%fZ', :now, '-5 minutes') AND at <= :now AND depth > 0) AS pace,
       (SELECT text FROM alerts ORDER BY raised_at DESC, name LIMIT 1) AS alert
  FROM control
