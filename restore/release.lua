-- Puts restored ids into their queue, together and in the order given.
--
-- KEYS: ledger, the queue's list, each job's hash
-- ARGV: the id of the list to follow ('' to go to the very head), one to follow where that
--       is not there any more ('' for the head: a worker took it, and all that stood before
--       it), the present instant in ms, how this run signed those whose hash it wrote, n and
--       n fields of a job's hash by which its version is known, then the ledger fields of all
--       ids, then the ids
-- Replies with one word per id, in order: placed; waited (placed before); gone (its hash
-- has expired or was deleted, now or before); changed (somebody else
-- has had the job since its hash came back).
local ledger, list = KEYS[1], KEYS[2]
local pivot, instead, now, ours = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local names = {}
for i = 1, tonumber(ARGV[5]) do
  names[i] = ARGV[5 + i]
end

local batch = 2000 -- Lua passes no more than some thousand arguments
local count = #KEYS - 2
local first = 5 + #names

local signs = {}
for _, word in ipairs({'placed', 'gone', 'changed'}) do
  signs[word] = word .. ':' .. now
end

-- look says what became of a job since its hash came back, when the ledger was signed so.
local function look(signed, hash)
  local have = redis.call('HMGET', hash, unpack(names))
  if not have[1] and redis.call('EXISTS', hash) == 0 then
    return 'gone'
  end
  for i = 1, #names do
    have[i] = have[i] or ''
  end
  local version = table.concat(have, '|')
  if signed == ours .. '|' .. version then
    return 'placed'
  end
  local want = string.match(signed, '^held:%d+(.*)$') -- another run's
  return (want == '' or want == '|' .. version) and 'placed' or 'changed'
end

local replies, ids, entries = {}, {}, {}
local found, written = 0, 0 -- how many ids and entries
for from = 1, count, batch do
  local n = math.min(batch, count - from + 1)
  local signed = redis.call('HMGET', ledger, unpack(ARGV, first + from, first + from + n - 1))
  for i = 1, n do
    local state, word = signed[i], 'gone'
    if state and string.sub(state, 1, 5) == 'held:' then
      word = look(state, KEYS[1 + from + i])
      if word == 'placed' then
        found = found + 1
        ids[found] = ARGV[first + count + from + i - 1]
      end
      entries[written + 1], entries[written + 2] = ARGV[first + from + i - 1], signs[word]
      written = written + 2
    elseif state and string.sub(state, 1, 7) == 'placed:' then
      word = 'waited'
    end
    replies[from + i - 1] = word
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
