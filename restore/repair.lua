-- Repairs one breach of an invariant, if all is still as it was seen.
--
-- KEYS: every key that is looked at or touched
-- ARGV: demands: n, then n times one of
--         'version', hash, m, m times (field, value): those fields have those values
--         'nojob', hash, field: the hash is not there, or has no such field
--         'in' or 'out', 'list', 'zset' or 'set', key, member: the member stands there, or not
--         'endless', key: it is there and has no expiry
--       then the steps: argument count, command, arguments …
--         '!once', list, id, 1 to keep the place nearest to the head: the id's other places go
-- Replies {word, detail}: done; changed (nothing was done); failed (stopped between).
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end

local function places(list, id)
  local found = 0
  local all = redis.pcall('LRANGE', list, 0, -1)
  if all.err then
    return 0
  end
  for _, have in ipairs(all) do
    if have == id then
      found = found + 1
    end
  end
  return found
end

local function stands(kind, key, member)
  if kind == 'zset' then
    return type(redis.pcall('ZSCORE', key, member)) == 'string'
  elseif kind == 'set' then
    return redis.pcall('SISMEMBER', key, member) == 1
  end
  local found = redis.pcall('LPOS', key, member)
  if type(found) == 'number' then
    return true
  end
  return found and places(key, member) > 0 -- before Redis 6.0.6
end

local demands = {
  version = function()
    local hash, same = take(), true
    for _ = 1, tonumber(take()) do
      local field, want = take(), take()
      local have = redis.pcall('HGET', hash, field) or ''
      same = same and have == want
    end
    return same
  end,
  nojob = function()
    return redis.pcall('HEXISTS', take(), take()) == 0
  end,
  ['in'] = function()
    return stands(take(), take(), take())
  end,
  out = function()
    return not stands(take(), take(), take())
  end,
  endless = function()
    return redis.call('PTTL', take()) == -1
  end,
}

local met = true
for _ = 1, tonumber(take()) do
  met = demands[take()]() and met
end
if not met then
  return {'changed', ''}
end

while at < #ARGV do
  local step = {}
  for i = 1, tonumber(take()) do
    step[i] = take()
  end
  local reply
  if step[1] == '!once' then
    local extra = places(step[2], step[3]) - tonumber(step[4])
    if extra > 0 then
      reply = redis.pcall('LREM', step[2], -extra, step[3])
    end
  else
    reply = redis.pcall(unpack(step))
  end
  if type(reply) == 'table' and reply.err then
    return {'failed', step[1] .. ': ' .. reply.err}
  end
end
return {'done', ''}
