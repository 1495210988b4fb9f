-- Puts restored ids into their queue, at its head, in the order given.
--
-- KEYS: ledger, the queue's list
-- ARGV: an id of the list to follow ('' to go to the very head), the field that makes a
--       hash a job, the present instant in ms, then n times (ledger field, id, the job's hash)
-- Replies with one word per id, in order: placed; waited (not ours to place, or placed
-- before); gone (its hash has expired or was deleted meanwhile).
local ledger, list = KEYS[1], KEYS[2]
local pivot, payload, now = ARGV[1], ARGV[2], ARGV[3]
local replies = {}
for at = #ARGV - 2, 4, -3 do
  local entry, id, hash = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local word = 'waited'
  if string.match(redis.call('HGET', ledger, entry) or '', '^held:') then
    if redis.call('HEXISTS', hash, payload) == 0 then
      word = 'gone'
      redis.call('HSET', ledger, entry, 'gone:' .. now)
    else
      -- What was enqueued after the outage is newer: lost ids go before it.
      if pivot == '' or redis.call('LINSERT', list, 'AFTER', pivot, id) <= 0 then
        redis.call('LPUSH', list, id)
      end
      redis.call('HSET', ledger, entry, 'placed:' .. now)
      word = 'placed'
    end
  end
  replies[(at - 4) / 3 + 1] = word
end
return replies
