-- Lets someone in (0), or says how long to wait (in ms).
--
-- KEYS[1]  the time (in µs) at which all tries so far are paid off: GCRA, "leaky bucket as a meter"
--          (ITU-T I.371); it expires when that time has come
-- ARGV     tries per minute; how many are made at once (a minute's, at most, have to fit: more are let in
--          where nothing is owed, and owed then)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local most, count = tonumber(ARGV[1]), tonumber(ARGV[2])
local interval = 60000000 / most
local paid = math.max(tonumber(redis.call('GET', KEYS[1])) or now, now)
local early = paid - (60000000 - interval * math.min(count, most)) - now
if early > 0 then
  return math.ceil(early / 1000)
end
paid = math.floor(paid + interval * count)
redis.call('SET', KEYS[1], string.format('%.0f', paid), 'PX', math.max(1, math.ceil((paid - now) / 1000)))
return 0
