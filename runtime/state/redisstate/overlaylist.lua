-- Answers the overlays of an environment: how many are passed over, then for each its id and envelope.
-- KEYS: the hash. ARGV: the most overlays, the most bytes of an envelope.
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[1]) then
	return {'crowded'} -- nobody may make gateways read without end
end
local out, none = {'0'}, 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
	if #all[i] > 63 or #all[i + 1] > tonumber(ARGV[2]) then
		none = none + 1
	else
		out[#out + 1] = all[i]
		out[#out + 1] = all[i + 1]
	end
end
out[1] = string.format('%d', none)
return out
