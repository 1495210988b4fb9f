-- Puts back jobs of which neither live nor the ledger knows anything, all but their places
-- in queues: as restore.lua does, with few commands for many jobs. What is not as simple as
-- that is left untouched, for restore.lua. See restore/bulk.go.
--
-- KEYS: ledger, the set of queues, each job's hash, then each stream of results, then the
--       registries
-- ARGV: ledger's life in seconds, what to sign for a job that has a registry, what comes
--       before an id in the ledger's fields, n and m, how many jobs and streams there are,
--       then for each job: id, place ('' for none): the list to register among the queues,
--       or the registry, what to sign, or its score there, the hash's expiry in ms (0: none)
--       and its payload,
--       then for each stream: the number of its job, its expiry and payload
-- Replies with the numbers of the jobs that were left untouched.
local keys, args = KEYS, ARGV
local ledger, queues = keys[1], keys[2]
local life, placed, prefix = args[1], args[2], args[3]
local jobs, streams = tonumber(args[4]), tonumber(args[5])
local head, each = 5, 5

local entries = {}
for i = 1, jobs do
  entries[i] = prefix .. args[head + each * (i - 1) + 1]
end
local signed = redis.call('HMGET', ledger, unpack(entries))

-- held says that what is to be signed, or is a score, is "held:…": the place is a list.
local function held(what)
  return string.byte(what) == 104
end

local takers = {[''] = true}
-- takes says whether a registry is one, or is not there.
local function takes(place)
  if takers[place] == nil then
    takers[place] = type(redis.pcall('ZSCORE', place, '')) ~= 'table'
  end
  return takers[place]
end

local made = {}
local passing, expire = {}, {} -- numbers and keys of what has an expiry
for i = 1, jobs do
  local at = head + each * (i - 1)
  local what, expiry = args[at + 3], args[at + 4]
  if not signed[i] and (held(what) or takes(args[at + 2])) then
    local key = keys[2 + i]
    made[i] = not redis.pcall('RESTORE', key, expiry, args[at + 5], 'ABSTTL').err
    if made[i] and expiry ~= '0' then
      passing[#passing + 1], expire[#expire + 1] = i, key
    end
  end
end
-- A value whose time has passed is answered with OK and not created.
if #expire > 0 and redis.call('EXISTS', unpack(expire)) < #expire then
  for n, i in ipairs(passing) do
    made[i] = redis.call('EXISTS', expire[n]) == 1
  end
end

local at = head + each * jobs
for n = 1, streams do
  local i = tonumber(args[at + 1])
  if made[i] then -- live's own results, if there are any, are newer
    local reply = redis.pcall('RESTORE', keys[2 + jobs + n], args[at + 2], args[at + 3], 'ABSTTL')
    if reply.err and not string.find(reply.err, 'BUSYKEY', 1, true) then
      redis.call('DEL', keys[2 + i]) -- made by this very call: nobody has seen it
      made[i] = false
    end
  end
  at = at + 3
end

local untouched, signs = {}, {}
local lists, registries = {}, {}
for i = 1, jobs do
  if made[i] then
    local at = head + each * (i - 1)
    local place, what = args[at + 2], args[at + 3]
    signs[#signs + 1] = entries[i]
    if held(what) then
      lists[place] = true
      signs[#signs + 1] = what
    else
      signs[#signs + 1] = placed
      if place ~= '' then
        local add = registries[place] or {'ZADD', place, 'NX'}
        registries[place] = add
        add[#add + 1] = what
        add[#add + 1] = args[at + 1]
      end
    end
  else
    untouched[#untouched + 1] = i
  end
end
for _, add in pairs(registries) do
  redis.call(unpack(add))
end
for list in pairs(lists) do
  redis.call('SADD', queues, list)
end
if #signs > 0 then
  redis.call('HSET', ledger, unpack(signs))
  redis.call('EXPIRE', ledger, life)
end
return untouched
