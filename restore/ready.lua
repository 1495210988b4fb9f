-- Enqueues a restored deferred job whose parents have all ended, as RQ does when the
-- last of them ends: nobody else would ever trigger it.
--
-- KEYS: ledger, the job's hash, its deferred registry, its queue's list, the set of queues
-- ARGV: ledger field, what to sign there, id, 1 if it goes to the queue's head, 1 if failed
--       parents count as met, n, n times (field, value) to write into the
--       hash, m, m times (parent's hash, 1 if it may be missing,
--       its set of children)
-- Replies {word, detail}: enqueued; waiting; changed. It signs last: what fails on the
-- way is looked at again by the next run.
local ledger, hash, registry, list, queues = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, front, allow = ARGV[3], ARGV[4], ARGV[5]
local function signed(word)
  redis.call('HSET', ledger, ARGV[1], ARGV[2])
  return {word, ''}
end
if redis.call('HGET', hash, 'status') ~= 'deferred' or not redis.call('ZSCORE', registry, id) then
  return signed('changed')
end
local at = 6
local fields, families = {}, {}
for _ = 1, tonumber(ARGV[6]) do
  fields[#fields + 1] = ARGV[at + 1]
  fields[#fields + 1] = ARGV[at + 2]
  at = at + 2
end
at = at + 1
for _ = 1, tonumber(ARGV[at]) do
  local parent, optional = ARGV[at + 1], ARGV[at + 2]
  families[#families + 1] = ARGV[at + 3]
  at = at + 3
  local status = redis.call('HGET', parent, 'status')
  local met = status == 'finished' or (status == 'failed' and allow == '1')
  if not status then
    met = optional == '1' and redis.call('EXISTS', parent) == 0
  end
  if not met then
    return signed('waiting')
  end
end
-- The push comes first: of all this, only it can fail by what is found there.
redis.call(front == '1' and 'LPUSH' or 'RPUSH', list, id)
redis.call('ZREM', registry, id)
redis.call('HSET', hash, unpack(fields))
redis.call('SADD', queues, list)
for _, family in ipairs(families) do -- which would start it again with the parent's next end
  redis.call('SREM', family, id)
end
return signed('enqueued')
