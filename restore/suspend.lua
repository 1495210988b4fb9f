-- Suspends a queue library's workers for a while, or lifts its own suspension.
--
-- KEYS: the flag whose existence suspends
-- ARGV: the value by which this restore knows its own flag, its life in ms (0: lift it)
-- Replies: set; lifted; other (somebody else's flag is there and is left alone).
local flag, mine, life = KEYS[1], ARGV[1], ARGV[2]
local have = redis.pcall('GET', flag)
if have and have ~= mine then
  return 'other'
elseif life ~= '0' then
  redis.call('SET', flag, mine, 'PX', life)
  return 'set'
end
redis.call('DEL', flag)
return 'lifted'
