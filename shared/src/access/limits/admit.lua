-- Lets someone in, or says how long to wait: {what is used up ("" where nothing), wait in ms}.
--
-- KEYS[1]  the time (in µs) at which all tries so far are paid off: GCRA, "leaky bucket as a meter"
--          (ITU-T I.371); it expires when that time has come
-- KEYS[2]  the open streams, each with the time (in ms) at which its lease ends; only where a stream is to be opened
-- ARGV     tries per minute; streams at most, stream id, lease in ms
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local interval = 60000000 / tonumber(ARGV[1])
local paid = math.max(tonumber(redis.call('GET', KEYS[1])) or now, now)
local early = paid - (60000000 - interval) - now
if early > 0 then
  return {'tries', math.ceil(early / 1000)}
end
paid = math.floor(paid + interval)
redis.call('SET', KEYS[1], string.format('%.0f', paid), 'PX', math.ceil((paid - now) / 1000))

if KEYS[2] then
  now = math.floor(now / 1000)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  -- Asked twice, where the first answer was lost, it does not stand in its own way.
  redis.call('ZREM', KEYS[2], ARGV[3])
  if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[2]) then
    local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
    return {'streams', first[2] - now}
  end
  redis.call('ZADD', KEYS[2], now + ARGV[4], ARGV[3])
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return {'', 0}
