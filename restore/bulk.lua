-- Puts back jobs of which neither live nor the ledger knows anything, all but their places
-- in queues: as restore.lua does, with few commands for many jobs. What is not as simple as
-- that is left untouched, for restore.lua. See restore/bulk.go.
--
-- KEYS: ledger, the set of queues, each job's hash, then each stream of results, then each
--       registry
-- ARGV: ledger's life in seconds; how many jobs, expiries, registries, lists and streams
--       there are; an instant in ms that is not reached while this runs, then
--       for each job: its field in the ledger, and what to sign there,
--       for each job: its hash's payload,
--       for each expiry: the number of its job, and the instant in ms,
--       for each registry: the numbers of the first and the last of its jobs, and for each of
--         these its score and id,
--       for each list: the numbers of the first and the last of its jobs, and its key, which
--         is to be registered among the queues,
--       for each stream: the number of its job, its expiry (0: none) and payload
-- Replies with the numbers of the jobs that were left untouched.
local keys, args = KEYS, ARGV
local ledger = keys[1]
local jobs, expiries = tonumber(args[2]), tonumber(args[3])
local registries, lists, streams = tonumber(args[4]), tonumber(args[5]), tonumber(args[6])
local far = tonumber(args[7])
local signs = 8
local payloads = signs + 2 * jobs - 1 -- before the first
local at = payloads + jobs + 1

-- left has the jobs that are left untouched, by their numbers.
local left = {}
local entries = {}
for i = 1, jobs do
  entries[i] = args[signs + 2 * (i - 1)]
end
local signed = redis.call('HMGET', ledger, unpack(entries))
for i = 1, jobs do
  if signed[i] then
    left[i] = true
  end
end

local expiry = {}
for _ = 1, expiries do
  expiry[tonumber(args[at])] = args[at + 1]
  at = at + 2
end

local places = {} -- of each registry: first, last, where its scores begin
for n = 1, registries do
  local first, last = tonumber(args[at]), tonumber(args[at + 1])
  places[n] = {first, last, at + 2}
  at = at + 2 + 2 * (last - first + 1)
  if type(redis.pcall('ZSCORE', keys[2 + jobs + streams + n], '')) == 'table' then -- no registry
    for i = first, last do
      left[i] = true
    end
  end
end

local passing, expire = {}, {} -- numbers and keys of what may expire at any moment
for i = 1, jobs do
  if not left[i] then
    local key, ms = keys[2 + i], expiry[i]
    local reply
    if ms then
      reply = redis.pcall('RESTORE', key, ms, args[payloads + i], 'ABSTTL')
      if tonumber(ms) < far then
        passing[#passing + 1], expire[#expire + 1] = i, key
      end
    else
      reply = redis.pcall('RESTORE', key, '0', args[payloads + i])
    end
    if reply.err then
      left[i] = true
    end
  end
end
-- A value whose time has passed is answered with OK and not created.
if #expire > 0 and redis.call('EXISTS', unpack(expire)) < #expire then
  for n, i in ipairs(passing) do
    left[i] = left[i] or redis.call('EXISTS', expire[n]) == 0
  end
end

local from = at
at = at + 3 * lists
for n = 1, streams do
  local i = tonumber(args[at])
  if not left[i] then -- live's own results, if there are any, are newer
    local reply = redis.pcall('RESTORE', keys[2 + jobs + n], args[at + 1], args[at + 2], 'ABSTTL')
    if reply.err and not string.find(reply.err, 'BUSYKEY', 1, true) then
      redis.call('DEL', keys[2 + i]) -- made by this very call: nobody has seen it
      left[i] = true
    end
  end
  at = at + 3
end

local untouched = {}
for i = 1, jobs do
  if left[i] then
    untouched[#untouched + 1] = i
  end
end

-- made returns the pairs of arguments, from that one on, of those jobs that were made.
local function made(first, last, from)
  if #untouched == 0 then
    return unpack(args, from, from + 2 * (last - first) + 1)
  end
  local pairs = {}
  for i = first, last do
    if not left[i] then
      pairs[#pairs + 1] = args[from + 2 * (i - first)]
      pairs[#pairs + 1] = args[from + 2 * (i - first) + 1]
    end
  end
  return unpack(pairs)
end

-- any reports whether any of those jobs was made.
local function any(first, last)
  for i = first, last do
    if not left[i] then
      return true
    end
  end
  return false
end

if #untouched == jobs then
  return untouched
end
for n = 1, registries do
  local first, last, from = unpack(places[n])
  if any(first, last) then
    redis.call('ZADD', keys[2 + jobs + streams + n], 'NX', made(first, last, from))
  end
end
for n = 0, lists - 1 do
  if any(tonumber(args[from + 3 * n]), tonumber(args[from + 3 * n + 1])) then
    redis.call('SADD', keys[2], args[from + 3 * n + 2])
  end
end
redis.call('HSET', ledger, made(1, jobs, signs))
redis.call('EXPIRE', ledger, args[1])
return untouched
