-- Changes the sessions of the admin API: a hash of session id -> session, as JSON. All of them lie under one key, so that a rule about
-- several holds in one step, in a cluster too; there are no more than some hundreds.
-- KEYS: the hash. ARGV: "add", session id, session, now, most of its user, time to live of the key; answers how many it ended.
--                       "rotate", session id, digest that is used, now, session as it becomes; answers 0 unknown, 1 reused, 2 rotated.
-- Times are Unix milliseconds.
local function read(raw)
	local ok, s = pcall(cjson.decode, raw)
	if ok and type(s) == 'table' and type(s.until_ms) == 'number' then
		return s
	end
	return nil
end

local op, id, now = ARGV[1], ARGV[2], tonumber(ARGV[4])
if op == 'rotate' then
	local raw = redis.call('HGET', KEYS[1], id)
	local s = raw and read(raw)
	if not s or s.until_ms <= now then
		redis.call('HDEL', KEYS[1], id)
		return 0
	end
	if s.refresh ~= ARGV[3] then
		redis.call('HDEL', KEYS[1], id)
		return 1
	end
	redis.call('HSET', KEYS[1], id, ARGV[5])
	return 2
end

local new, own, ended = cjson.decode(ARGV[3]), {}, 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
	local s = read(all[i + 1])
	if not s or s.until_ms <= now then
		redis.call('HDEL', KEYS[1], all[i])
	elseif s.user == new.user then
		own[#own + 1] = { id = all[i], at = s.created_ms or 0 }
	end
end
table.sort(own, function(a, b)
	if a.at ~= b.at then
		return a.at < b.at
	end
	return a.id < b.id
end)
for i = 1, #own + 1 - tonumber(ARGV[5]) do
	redis.call('HDEL', KEYS[1], own[i].id)
	ended = ended + 1
end
redis.call('HSET', KEYS[1], id, ARGV[3])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[6]) then
	redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
return ended
