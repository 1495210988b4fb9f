-- Notes jobs that need nothing, and forgets such notes when they are too old.
--
-- KEYS: the hash of notes
-- ARGV: the field, its fingerprints, the hash's life in seconds, before which instant (Unix ms)
--       a note is too old
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  local at = tonumber(string.match(field, '^%d+'))
  if at and at < tonumber(ARGV[4]) then
    redis.call('HDEL', KEYS[1], field)
  end
end
return 'done'
