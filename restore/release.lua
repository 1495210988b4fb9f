-- Puts restored ids into their queue, together and in the order given.
--
-- KEYS: ledger, the queue's list, each job's hash
-- ARGV: the id of the list to follow ('' to go to the very head), one to follow where that
--       is not there any more ('' for the head: a worker took it, and all that stood before
--       it), the present instant in ms, n and n fields of a job's hash
--       by which its version is known, then the ledger fields of all ids, then the ids
-- Replies with one word per id, in order: placed; waited (placed before); gone (its hash
-- has expired or was deleted, now or before); changed (somebody else
-- has had the job since its hash came back).
local ledger, list = KEYS[1], KEYS[2]
local pivot, instead, now = ARGV[1], ARGV[2], ARGV[3]
local names = {}
for i = 1, tonumber(ARGV[4]) do
  names[i] = ARGV[4 + i]
end

local batch = 2000 -- Lua passes no more than some thousand arguments
local count = #KEYS - 2
local first = 4 + #names

-- held says in which version the ledger holds a job back, nil if it does not.
local function held(signed)
  return signed and string.match(signed, '^held:%d+(.*)$')
end

local function version(have)
  for i = 1, #names do
    have[i] = have[i] or ''
  end
  return '|' .. table.concat(have, '|')
end

local replies, ids, entries = {}, {}, {}
for from = 1, count, batch do
  local n = math.min(batch, count - from + 1)
  local signed = redis.call('HMGET', ledger, unpack(ARGV, first + from, first + from + n - 1))
  for i = 1, n do
    local entry, id, hash = ARGV[first + from + i - 1], ARGV[first + count + from + i - 1], KEYS[1 + from + i]
    local want = held(signed[i])
    local word = 'gone'
    if want then
      local have = redis.call('HMGET', hash, unpack(names))
      if not have[1] and redis.call('EXISTS', hash) == 0 then
        word = 'gone'
      elseif want ~= '' and want ~= version(have) then
        word = 'changed'
      else
        word = 'placed'
        ids[#ids + 1] = id
      end
      entries[#entries + 1] = entry
      entries[#entries + 1] = word .. ':' .. now
    elseif signed[i] and string.match(signed[i], '^placed:') then
      word = 'waited'
    end
    replies[#replies + 1] = word
  end
end
if #entries == 0 then
  return replies
end

local function push(command, values)
  for i = 1, #values, batch do
    redis.call(command, list, unpack(values, i, math.min(#values, i + batch - 1)))
  end
end
local function reversed(values)
  local back = {}
  for i = #values, 1, -1 do
    back[#back + 1] = values[i]
  end
  return back
end

-- find returns how many ids stand up to and with the anchor, 0 if it is not there.
local function find(anchor)
  if anchor == '' then
    return 0
  end
  if redis.pcall('LINDEX', list, -1) == anchor then -- nothing stands behind, as in most of a long restore
    return redis.call('LLEN', list)
  end
  local found = redis.pcall('LPOS', list, anchor, 'RANK', -1, 'MAXLEN', 10000) or redis.pcall('LPOS', list, anchor)
  if type(found) == 'number' then
    return found + 1
  elseif not found then
    return 0
  end
  for at, have in ipairs(redis.call('LRANGE', list, 0, -1)) do -- before Redis 6.0.6
    if have == anchor then
      return at
    end
  end
  return 0
end

local length = redis.call('LLEN', list)
local anchor = pivot
local after = find(pivot)
if after == 0 then
  anchor, after = instead, find(instead)
end
if after == 0 then
  push('LPUSH', reversed(ids))
elseif #ids <= 8 and after < length then
  for i = #ids, 1, -1 do
    redis.call('LINSERT', list, 'AFTER', anchor, ids[i])
  end
elseif length - after <= after then -- move what stands behind out of the way
  local tail = redis.call('LRANGE', list, after, -1)
  redis.call('LTRIM', list, 0, after - 1)
  push('RPUSH', ids)
  push('RPUSH', tail)
else
  local front = redis.call('LRANGE', list, 0, after - 1)
  redis.call('LTRIM', list, after, -1)
  push('LPUSH', reversed(ids))
  push('LPUSH', reversed(front))
end
for i = 1, #entries, batch do
  redis.call('HSET', ledger, unpack(entries, i, math.min(#entries, i + batch - 1)))
end
return replies
