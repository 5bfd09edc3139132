-- Says who counts the queues. Returns whether it is who asks and, where it is not, what was counted last.
--
-- KEYS[1]  who it is, until its lease ends
-- KEYS[2]  what was counted last, until then
-- ARGV     "take" (where it is free, or is theirs), "tell" (the same, and what was counted) or "leave"; who asks; the
--          lease in ms; the channel of all who listen; what was counted
local action, who, lease, channel, numbers = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= who then
  return {0, redis.call('GET', KEYS[2]) or ''}
end
if action == 'leave' then
  if holder then
    redis.call('SET', KEYS[1], who, 'PX', 1)
    -- Nothing was counted: whoever hears it first takes the seat.
    redis.call('PUBLISH', channel, '')
  end
  return {0, ''}
end
redis.call('SET', KEYS[1], who, 'PX', lease)
if action == 'tell' then
  redis.call('SET', KEYS[2], numbers, 'PX', lease)
  redis.call('PUBLISH', channel, numbers)
end
return {1, ''}
