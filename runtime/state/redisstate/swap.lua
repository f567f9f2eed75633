-- Replaces a record if it still is what the caller has read, and tells every gateway: at once, so that no change goes untold.
-- KEYS: the record. ARGV: what it must be (empty: absent), what it becomes, the channel, the message. Answers 1, or 0 if it is not.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
	return 0
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
