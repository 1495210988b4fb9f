-- Puts jobs back, all but their places in queues. See restore/block.go for the arguments.
--
-- KEYS: ledger, the set of queues, each job's hash (or the key to restore), every other key
--       that is looked at or touched
-- ARGV: ledger's life in seconds, the instant of the snapshot in ms (older entries of the
--       ledger are about earlier data), the field that makes a hash a job ('' for a plain
--       key), m, m fields by which release.lua knows a job's version, n, n ledger fields,
--       then for each of the n jobs: how many arguments follow for it,
--       guard ('absent', 'same', 'seen': the same, to be replaced, 'stub': a hash without a
--         job, to be replaced, 'waiting': absent, and a list or registry has the id, or
--         'once': nothing is demanded),
--       state to sign with: "word:ms", or "held:ms|…" where the version is known,
--       the list to register among the queues ('' for none),
--       how the value comes, and its expiry in ms (0: none):
--         'restore': as a payload; 'fields': as n, n times (field, value);
--         'keep': it is there already; 'steps': the steps make it,
--       for 'same', 'seen' and 'stub': n, n times (field, value), which are demanded,
--       for 'waiting': 'list' or 'zset', the key, the id,
--       for 'seen': n, n times ('list', 'zset' or 'stay', the key, the id, or what stands
--         there of it) from which it goes,
--       the value itself, then the steps: argument count, command, arguments …
-- Replies word, detail for each job: done; ledger; present, stub, changed (the detail is what
--   an earlier run signed for it, if one did), moved, expired (nothing was done);
--   refused (RESTORE is not possible here, nothing was done); failed (stopped between).
local args, ledger, queues = ARGV, KEYS[1], KEYS[2]
local at = 0
local function take()
  at = at + 1
  return args[at]
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

local life, since, payload = take(), tonumber(take()), take()
local names = {}
for i = 1, tonumber(take()) do
  names[i] = take()
end
local count = tonumber(take())
local entries = at
at = at + count
local signed = redis.call('HMGET', ledger, unpack(args, entries + 1, entries + count))
local registered = {} -- lists, by this call
local signs = {}

-- there says that live has the key, or a hash without a job in its place.
local function there(key)
  if payload ~= '' and redis.pcall('HEXISTS', key, payload) == 0 then
    return 'stub', ''
  end
  return 'present', ''
end

-- demands says which demand of a guard does not hold, nil if all do.
local function demands(key, guard, how, word)
  if guard == 'same' or guard == 'seen' or guard == 'stub' then
    local matches = true
    for _ = 1, tonumber(take()) do
      local name, want = take(), take()
      matches = matches and (redis.call('HGET', key, name) or '') == want
    end
    if guard == 'stub' and redis.call('EXISTS', key) == 1 and redis.pcall('HEXISTS', key, payload) ~= 0 then
      return 'present', ''
    elseif not matches then
      return 'changed', word or ''
    end
  elseif guard ~= 'once' and (guard == 'waiting' or how ~= 'restore') and redis.call('EXISTS', key) == 1 then
    return there(key) -- RESTORE looks for itself
  end
  if guard == 'waiting' then -- an id that no worker has taken still stands where it did
    local kind, place, id = take(), take(), take()
    local stands
    if kind == 'list' then
      stands = listed(place, id)
    else
      stands = type(redis.pcall('ZSCORE', place, id)) == 'string'
    end
    if not stands then
      return 'moved', ''
    end
  end
end

-- leave takes the id of a job that is to be replaced out of wherever it stands.
local function leave()
  for _ = 1, tonumber(take()) do
    local kind, place, id = take(), take(), take()
    if kind == 'list' then
      redis.pcall('LREM', place, 0, id)
    elseif kind == 'zset' then
      redis.pcall('ZREM', place, id)
    end
  end
end

-- value makes the key. It returns why it could not, nil if it could.
local function value(key, how, expiry, replace)
  if how == 'restore' then
    local reply
    if replace then
      reply = redis.pcall('RESTORE', key, expiry, take(), 'ABSTTL', 'REPLACE')
    else
      reply = redis.pcall('RESTORE', key, expiry, take(), 'ABSTTL')
    end
    if reply.err then
      if string.find(reply.err, 'BUSYKEY', 1, true) then
        return there(key)
      end
      return 'refused', reply.err
    end
  elseif how == 'fields' then
    if replace then
      redis.call('DEL', key)
    end
    local left = 2 * tonumber(take())
    while left > 0 do
      local n = math.min(left, 1000)
      redis.call('HSET', key, unpack(args, at + 1, at + n))
      at, left = at + n, left - n
    end
    if expiry ~= '0' then
      redis.call('PEXPIREAT', key, expiry)
    end
  end
end

-- steps runs commands up to an argument. It returns what stopped it, nil if nothing did.
local function steps(last, key, how)
  while at < last do
    local n = tonumber(take())
    local word, a, b, c = args[at + 1], args[at + 2], args[at + 3], args[at + 4]
    local first = at + 1
    at = at + n
    if word == '!unlisted' then -- id, list …: stop if any of the lists has the id
      for i = first + 2, at do
        if listed(args[i], a) then
          return 'present', 'in a list'
        end
      end
    elseif word == '!create' then -- key, n: the next n steps only if there is no such key
      if redis.call('EXISTS', a) == 1 then
        for _ = 1, tonumber(b) do
          at = at + 1 + tonumber(args[at + 1])
        end
      end
    elseif word == '!parent' then -- parent's hash, its set of children, id, 1 if it has not ended though it may be missing
      local status = redis.call('HGET', a, 'status')
      if status and status ~= 'finished' or not status and args[at] == '1' then
        redis.call('SADD', b, c)
      end
    elseif word == '!expire' then -- key, at: only where the key has no expiry yet
      if redis.call('PTTL', a) == -1 then
        redis.call('PEXPIREAT', a, b)
      end
    else
      local reply = redis.pcall(unpack(args, first, at))
      if type(reply) == 'table' and reply.err then
        if how == 'restore' and word == 'RESTORE' then
          redis.call('DEL', key) -- made by this very call: nobody has seen it
          return 'refused', reply.err
        end
        return 'failed', word .. ': ' .. reply.err
      end
    end
  end
end

local function job(i, last)
  local key = KEYS[i + 2]
  local guard, state, list, how, expiry = take(), take(), take(), take(), take()
  -- What an earlier run did must not be done again, but what it did may have been undone:
  -- those guards look for themselves.
  local word, at_ms = string.match(signed[i] or '', '^(%a+):(%d+)')
  if word and tonumber(at_ms) < since then
    word = nil
  end
  if word and (guard == 'absent' or guard == 'stub' or guard == 'once' or word == 'held' and guard ~= 'seen') then
    return 'ledger', word
  end
  local no, detail = demands(key, guard, how, word)
  if no then
    return no, detail
  end
  if guard == 'seen' then
    leave()
  end
  no, detail = value(key, how, expiry, guard == 'seen' or guard == 'stub')
  if no then
    return no, detail
  end
  -- A value whose time has passed is answered with OK and not created.
  if how == 'steps' then
    if expiry ~= '0' and tonumber(expiry) <= tonumber(string.match(state, ':(%d+)')) then
      return 'expired', ''
    end
  elseif guard ~= 'seen' and (how ~= 'restore' or expiry ~= '0') and redis.call('EXISTS', key) == 0 then
    return 'expired', ''
  end
  no, detail = steps(last, key, how)
  if no then
    return no, detail
  end
  if list ~= '' and not registered[list] then
    redis.call('SADD', queues, list)
    registered[list] = true
  end
  if #names > 0 and string.find(state, '^held:%d+$') then
    local have = redis.call('HMGET', key, unpack(names)) -- release.lua will want it unchanged
    for k = 1, #names do
      state = state .. '|' .. (have[k] or '')
    end
  end
  signs[#signs + 1] = args[entries + i]
  signs[#signs + 1] = state
  return 'done', ''
end

local replies = {}
for i = 1, count do
  local last = at + 1 + tonumber(args[at + 1])
  at = at + 1
  local fine, word, detail = pcall(job, i, last)
  if not fine then -- one job's trouble is not its neighbour's
    word, detail = 'failed', type(word) == 'table' and word.err or tostring(word)
  end
  replies[#replies + 1] = word
  replies[#replies + 1] = detail
  at = last
end
if #signs > 0 then
  redis.call('HSET', ledger, unpack(signs))
  redis.call('EXPIRE', ledger, life)
end
return replies
