-- name: hour
SELECT *, strftime('%s', :now) / 60 - strftime('%s', at) / 60 AS ago FROM minutes
 WHERE at > strftime('%Y-%m-%dT%H:%M:%fZ', :now, '-1 hour') AND at <= :now ORDER BY at

-- name: today
SELECT coalesce(sum(answers), 0) AS answers, coalesce(sum(input_tokens), 0) AS input_tokens,
       coalesce(sum(output_tokens), 0) AS output_tokens FROM usage WHERE day = substr(:now, 1, 10)

-- name: minute
-- The row of `minutes` for the minute that ends now: what happened since the last row or, where that is longer ago than
-- a minute or so (the daemon was down), in the last minute. It walks the ids behind that row's, so it costs what the
-- minute brought; an id is behind once, so nothing counts twice. 20,000 rows are the most that one minute is made of:
-- WhatsApp takes 80 messages a second, 4,800 a minute.
INSERT OR REPLACE INTO minutes
WITH
last (at, outbox, attempt, before) AS (
  SELECT at, last_outbox, last_attempt, coalesce(lead(last_attempt) OVER (ORDER BY at DESC), 0)
    FROM (SELECT * FROM minutes ORDER BY at DESC LIMIT 2)
  UNION ALL SELECT '', 0, 0, 0
  ORDER BY 1 DESC LIMIT 1),
since (at) AS (
  SELECT iif(at > strftime('%Y-%m-%dT%H:%M:%fZ', :now, '-90 seconds'), strftime('%Y-%m-%dT%H:%M:%fZ', at, '-1 second'),
             strftime('%Y-%m-%dT%H:%M:%fZ', :now, '-60 seconds'))
    FROM last),
-- What ended has a try behind the last row's; or, where a status told how a send had ended, one a minute earlier, and
-- ended after that row.
tried (outbox_id, newest) AS (
  SELECT outbox_id, max(id)
    FROM (SELECT id, outbox_id FROM attempts WHERE id > (SELECT before FROM last) ORDER BY id DESC LIMIT 20000)
   GROUP BY outbox_id),
ended (done, waited, took) AS MATERIALIZED (
  SELECT o.state = 'done',
         CAST(round((julianday(o.begun_at) - julianday(o.received_at)) * 86400000) AS INTEGER),
         CAST(round((julianday(o.finished_at) - julianday(o.begun_at)) * 86400000) AS INTEGER)
    FROM tried CROSS JOIN outbox o ON o.id = tried.outbox_id
   WHERE o.state IN ('done', 'failed') AND o.finished_at > (SELECT at FROM since)
     AND (newest > (SELECT attempt FROM last) OR o.finished_at > (SELECT at FROM last))),
waited (ms, place, of) AS MATERIALIZED (
  SELECT waited, row_number() OVER (ORDER BY waited), count(*) OVER () FROM ended WHERE done AND waited IS NOT NULL),
took (ms, place, of) AS MATERIALIZED (
  SELECT took, row_number() OVER (ORDER BY took), count(*) OVER () FROM ended WHERE done AND took IS NOT NULL)
SELECT :now, depth,
       (SELECT count(*)
          FROM (SELECT received_at, state FROM outbox WHERE id > (SELECT outbox FROM last) ORDER BY id DESC LIMIT 20000)
         WHERE received_at > (SELECT at FROM since) AND state <> 'ignored'),
       (SELECT count(*) FROM ended WHERE done),
       (SELECT count(*) FROM ended WHERE NOT done),
       (SELECT ms FROM waited WHERE place = (of * 50 + 99) / 100), -- nearest rank: so many stay within it
       (SELECT ms FROM waited WHERE place = (of * 95 + 99) / 100),
       (SELECT ms FROM took WHERE place = (of * 50 + 99) / 100),
       (SELECT ms FROM took WHERE place = (of * 95 + 99) / 100),
       (SELECT coalesce(max(id), 0) FROM outbox),
       (SELECT coalesce(max(id), 0) FROM attempts)
  FROM control
