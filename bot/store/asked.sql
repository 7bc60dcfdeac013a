-- name: question
SELECT body, user_id, phone_number_id, name, quoted_wamid,
       coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', asked_at), :now) FROM questions WHERE id = :id

-- name: history
SELECT {spoken} FROM users u WHERE u.id = :user
