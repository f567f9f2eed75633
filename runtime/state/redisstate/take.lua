-- Takes from several token buckets, from all or from none. A bucket is one number: when it will be full again, in microseconds
-- since 1970 by the server's clock (the generic cell rate algorithm, as in internal/gcra). All numbers are whole and below 2^53.
-- KEYS: the buckets. ARGV: for each its size, and the tokens asked for, both as the microseconds in which they come.
-- Answers for each bucket whether it has the tokens, and what was missing until it is full.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local missing, answer, all = {}, {}, true
for i = 1, #KEYS do
	local size, want = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
	local full = tonumber(redis.call('GET', KEYS[i]) or now)
	-- More than its size is missing if the bucket was made smaller, or the clock set back.
	missing[i] = math.min(math.max(full, now) - now, size)
	local granted = want <= size - missing[i]
	all = all and granted
	answer[2 * i - 1], answer[2 * i] = granted and 1 or 0, missing[i]
end
if all then
	for i = 1, #KEYS do
		local want = tonumber(ARGV[2 * i])
		if want > 0 then
			local full = missing[i] + want
			redis.call('SET', KEYS[i], string.format('%.0f', now + full), 'PX', string.format('%.0f', math.ceil(full / 1000) + 1000))
		end
	end
end
return answer
