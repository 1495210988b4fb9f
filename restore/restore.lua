-- Puts one job back, all but its place in a queue. See restore/write.go for the arguments.
--
-- KEYS: ledger, the job's hash (or the key to restore), every other key the steps touch
-- ARGV: ledger field, ledger's life in seconds, state to sign with ("word:ms"), the
--       instant of the snapshot in ms (older entries of the ledger are about earlier data),
--       guard ('absent', 'same', 'seen': the same, to be replaced, 'stub': a hash without a
--       job, to be replaced, 'waiting': absent, and a list or registry has the id, or
--       'once': nothing is demanded),
--       the field that makes a hash a job ('' for a plain key),
--       n, m, n times (field, value): the version, which 'same', 'seen' and 'stub' demand; the
--         first m fields are those by which release.lua knows it,
--       for 'waiting': 'list' or 'zset', the key, the id,
--       for 'seen', which demands the version too: n, n times ('list', 'zset' or 'stay', the
--       key, the id, or what stands there of it) from which it goes,
--       how the value comes, and its expiry in ms (0: none):
--         'restore': the payload; 'fields': n, n times (field, value);
--         'keep': it is there already; 'steps': the steps make it
--       then the steps: argument count, command, arguments …
-- Replies {word, detail}: done; ledger; present, stub, changed (the detail is what an earlier
--   run signed for it, if one did), moved, expired (nothing was done);
--   refused (RESTORE is not possible here, nothing was done); failed (stopped between).
local ledger, key = KEYS[1], KEYS[2]
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end

local function listed(list, id)
  local found = redis.pcall('LPOS', list, id)
  if type(found) == 'number' then
    return true
  elseif not found then
    return false
  end
  for _, have in ipairs(redis.call('LRANGE', list, 0, -1)) do -- before Redis 6.0.6
    if have == id then
      return true
    end
  end
  return false
end

local entry, life, state, since, guard, payload = take(), take(), take(), take(), take(), take()

-- What an earlier run did must not be done again, but what it did may have been undone:
-- those guards look for themselves.
local word, signed = string.match(redis.call('HGET', ledger, entry) or '', '^(%a+):(%d+)')
if word and tonumber(signed) < tonumber(since) then
  word = nil
end
if word and (guard == 'absent' or guard == 'stub' or guard == 'once' or word == 'held' and guard ~= 'seen') then
  return {'ledger', word}
end

local names = {}
local exists = redis.call('EXISTS', key) == 1
local matches = true
local fields, known = tonumber(take()), tonumber(take())
for i = 1, fields do
  local name, want = take(), take()
  if i <= known then
    names[i] = name
  end
  if (guard == 'same' or guard == 'seen' or guard == 'stub') and matches and (redis.call('HGET', key, name) or '') ~= want then
    matches = false
  end
end
if guard == 'stub' and exists and redis.pcall('HEXISTS', key, payload) ~= 0 then
  return {'present', ''}
end
if guard == 'same' or guard == 'seen' or guard == 'stub' then
  if not matches then
    return {'changed', word or ''}
  end
elseif guard ~= 'once' then
  if exists then
    if payload ~= '' then
      local has = redis.pcall('HEXISTS', key, payload)
      if has == 0 then
        return {'stub', ''}
      end
    end
    return {'present', ''}
  end
end

-- A waiting id is one that no worker has taken: it still stands where it did.
if guard == 'waiting' then
  local kind, place, id = take(), take(), take()
  local there
  if kind == 'list' then
    there = listed(place, id)
  else
    there = type(redis.pcall('ZSCORE', place, id)) == 'string'
  end
  if not there then
    return {'moved', ''}
  end
end

-- An ended job that is to run again: out of wherever it stands, before all else.
local forward = guard == 'seen'
if forward then
  for _ = 1, tonumber(take()) do
    local kind, place, id = take(), take(), take()
    if kind == 'list' then
      redis.pcall('LREM', place, 0, id)
    elseif kind == 'zset' then
      redis.pcall('ZREM', place, id)
    end
  end
end

local replace = forward or guard == 'stub'
local how, expiry = take(), take()
if how == 'restore' then
  local reply
  if replace then
    reply = redis.pcall('RESTORE', key, expiry, take(), 'ABSTTL', 'REPLACE')
  else
    reply = redis.pcall('RESTORE', key, expiry, take(), 'ABSTTL')
  end
  if type(reply) == 'table' and reply.err then
    if string.find(reply.err, 'BUSYKEY', 1, true) then
      return {'present', ''}
    end
    return {'refused', reply.err}
  end
elseif how == 'fields' then
  if replace then
    redis.call('DEL', key)
  end
  local left = tonumber(take())
  while left > 0 do
    local batch = {}
    for _ = 1, math.min(left, 500) do
      batch[#batch + 1] = take()
      batch[#batch + 1] = take()
      left = left - 1
    end
    redis.call('HSET', key, unpack(batch))
  end
  if expiry ~= '0' then
    redis.call('PEXPIREAT', key, expiry)
  end
end

-- A value whose time has passed is answered with OK and not created.
if how == 'steps' and expiry ~= '0' and tonumber(expiry) <= tonumber(string.match(state, ':(%d+)')) then
  return {'expired', ''}
end
if how ~= 'steps' and not forward and redis.call('EXISTS', key) == 0 then
  return {'expired', ''}
end

while at < #ARGV do
  local n = tonumber(take())
  local step = {}
  for i = 1, n do
    step[i] = take()
  end
  if step[1] == '!unlisted' then -- id, list …: stop if any of the lists has the id
    for i = 3, n do
      if listed(step[i], step[2]) then
        return {'present', 'in a list'}
      end
    end
  elseif step[1] == '!create' then -- key, n: the next n steps only if there is no such key
    if redis.call('EXISTS', step[2]) == 1 then
      for _ = 1, tonumber(step[3]) do
        at = at + 1 + tonumber(ARGV[at + 1])
      end
    end
  elseif step[1] == '!parent' then -- parent's hash, its set of children, id, 1 if it has not ended though it may be missing
    local status = redis.call('HGET', step[2], 'status')
    if status and status ~= 'finished' or not status and step[5] == '1' then
      redis.call('SADD', step[3], step[4])
    end
  elseif step[1] == '!expire' then -- key, at: only where the key has no expiry yet
    if redis.call('PTTL', step[2]) == -1 then
      redis.call('PEXPIREAT', step[2], step[3])
    end
  else
    local reply = redis.pcall(unpack(step))
    if type(reply) == 'table' and reply.err then
      if how == 'restore' and step[1] == 'RESTORE' then
        redis.call('DEL', key) -- made by this very call: nobody has seen it
        return {'refused', reply.err}
      end
      return {'failed', step[1] .. ': ' .. reply.err}
    end
  end
end

if string.match(state, '^held:') and #names > 0 then
  local have = redis.call('HMGET', key, unpack(names)) -- release.lua will want it unchanged
  for i = 1, #names do
    state = state .. '|' .. (have[i] or '')
  end
end
redis.call('HSET', ledger, entry, state)
redis.call('EXPIRE', ledger, life)
return {'done', ''}
