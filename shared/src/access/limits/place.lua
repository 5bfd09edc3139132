-- Takes an open stream's place among its subject's, keeps it, or gives it back. Returns how many others were evicted
-- for it, or -1 where it has none any more.
--
-- KEYS[1]  the places, each with the time (in ms) at which its lease ends. A place is "opened:watched:stream": when it
--          was opened (in ms, 13 digits), a hash of what it watches, the stream's id
-- ARGV     "take", "retake" (by a client that had one), "keep" or "release"; the place; its lease in ms; places at
--          most; what a stream that is evicted is told
local action, place, lease, most, evicted = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if action == 'keep' and redis.call('ZADD', KEYS[1], 'XX', 'CH', now + lease, place) == 1 then
  redis.call('PEXPIRE', KEYS[1], lease)
  return 0
end
-- Asked twice, where the first answer was lost, it does not stand in its own way.
local was_held = redis.call('ZREM', KEYS[1], place) == 1
if action == 'release' then
  return 0
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local too_many = redis.call('ZCARD', KEYS[1]) + 1 - most
if action == 'keep' and not was_held and too_many > 0 then
  -- Not there, and no room: it was evicted, and not told. With room, Redis lost it.
  return -1
end
redis.call('ZADD', KEYS[1], now + lease, place)
redis.call('PEXPIRE', KEYS[1], lease)
if action == 'keep' or too_many <= 0 then
  return 0
end

local function watched(of)
  return string.match(of, ':(.*):')
end
local others = {}
for _, other in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if other ~= place then
    table.insert(others, other)
  end
end
table.sort(others, function(one, other)
  if action == 'retake' then
    local is_former, is_other_former = watched(one) == watched(place), watched(other) == watched(place)
    if is_former ~= is_other_former then
      return is_former
    end
  end
  return one < other
end)
for index = 1, too_many do
  redis.call('ZREM', KEYS[1], others[index])
  redis.call('PUBLISH', 'stream:' .. string.match(others[index], '[^:]*$') .. ':close', evicted)
end
return too_many
