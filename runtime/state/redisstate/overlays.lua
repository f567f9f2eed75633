-- Changes one overlay of an environment, if it is as whoever asks believes.
-- KEYS: the hash of overlay id -> envelope. ARGV: the id, what is there now, what is to be there, how long, in milliseconds, and how many
-- there may be; an envelope is empty where there is none. Answers 1 if it was as believed, 2 if there are as many as may be.
local there = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if there == '' and ARGV[3] == '' then
	return 1 -- somebody else has taken it away
end
if there ~= ARGV[2] then
	return 0
end
if there == '' and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then
	return 2
end
if ARGV[3] == '' then
	redis.call('HDEL', KEYS[1], ARGV[1])
	return 1
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
-- The hash lives as long as the overlay that ends last; gateways know when each of them ends.
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
	redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1
