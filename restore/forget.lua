-- Settles what a job that ended once more owed to those that wait for it: who waits no
-- longer leaves its set of children, as RQ has it, and would else run again with the job's
-- next end.
--
-- KEYS: ledger, the set of children, then each child's hash
-- ARGV: ledger field, what to sign there, then each child's id
for i = 3, #KEYS do
  if redis.call('HGET', KEYS[i], 'status') ~= 'deferred' then
    redis.call('SREM', KEYS[2], ARGV[i])
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return {'done', ''}
