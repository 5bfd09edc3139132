-- Renews an open stream's lease, or gives it back (a lease of 0).
--
-- KEYS[1]  the open streams, each with the time (in ms) at which its lease ends
-- ARGV     stream id, lease in ms
if tonumber(ARGV[2]) == 0 then
  return redis.call('ZREM', KEYS[1], ARGV[1])
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
