-- Keeps what a gateway says of itself, and answers what those of its environment have said within the time to live, by the server's
-- clock: how many entries are none, then for each gateway its name, the age of its report in milliseconds, and the report.
-- KEYS: the hash of reports. ARGV: the gateway, its report, the time to live in milliseconds, the most gateways, the most bytes of a
-- name, the most bytes of a report.
local key, ttl = KEYS[1], tonumber(ARGV[3])
if redis.call('HLEN', key) > tonumber(ARGV[4]) then
  -- Nobody may make gateways read without end. As nobody writes any more, the hash goes away by itself.
  if redis.call('PTTL', key) < 0 then
    redis.call('PEXPIRE', key, ttl)
  end
  return {'crowded'}
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('HSET', key, ARGV[1], string.format('%.0f:', now) .. ARGV[2])
redis.call('PEXPIRE', key, ttl)
local out, none = {'0'}, 0
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  local at, report = string.match(all[i + 1], '^(%d+):(.*)$')
  at = tonumber(at)
  if not at or at > now + ttl or at < now - ttl then
    redis.call('HDEL', key, all[i])
  elseif #all[i] > tonumber(ARGV[5]) or #report > tonumber(ARGV[6]) then
    none = none + 1
  else
    out[#out + 1] = all[i]
    out[#out + 1] = string.format('%.0f', math.max(now - at, 0))
    out[#out + 1] = report
  end
end
out[1] = string.format('%d', none)
return out
