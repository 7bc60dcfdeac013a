CREATE TABLE identity_changes (
  -- Notices of another phone or id that were followed: one that Meta delivers again changes nothing, whoever has the
  -- old number by then.
  told TEXT PRIMARY KEY  -- SHA-256 of time, old and new ids: no number outlives the person
) STRICT, WITHOUT ROWID;
