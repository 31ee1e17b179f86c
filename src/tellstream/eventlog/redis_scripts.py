"""What must happen in Redis in one step: Lua, run atomically there.

All scripts may be run twice with the same arguments, with the same outcome: a reply may be lost.
They name keys that are not among their arguments (a worker's streams, an idempotency name), and one
call appends to many streams, so the log needs one primary and does not run on Redis Cluster.

A stream's meta hash holds: epoch, open (the same, until the stream ends), seq (number of the last
frame; of a running stream it is the length of the log), record, worker (who produces it), nonce (of
the call that gave the right to append), name (idempotency key), followed (when a reader in another
process last followed; Redis's milliseconds).
"""

from typing import Final

from tellstream.eventlog.redis_append_script import APPEND
from tellstream.eventlog.redis_lua import Script

CREATE: Final = Script("""
-- KEYS: meta, [name]; ARGV: worker, lease ms, nonce, record, live ms, stream id, body
-- returns 1, 0 (the id exists) or {stream id, body} of the stream that has the name
local meta, name, worker = KEYS[1], KEYS[2], ARGV[1]
local made = redis.call('HMGET', meta, 'made', 'nonce')
if made[1] == ARGV[3] then  -- the earlier reply was lost
  return made[2] == ARGV[3] and 1 or -1  -- and somebody may have taken the stream over since
end
if name then
  local taken = redis.call('HMGET', name, 'stream', 'body')
  if taken[1] then return taken end
end
if redis.call('EXISTS', meta) == 1 then return 0 end
redis.call('HSET', meta, 'epoch', 1, 'open', 1, 'record', ARGV[4], 'worker', worker,
  'nonce', ARGV[3], 'made', ARGV[3])
redis.call('PEXPIRE', meta, ARGV[5])
if name then
  redis.call('HSET', meta, 'name', name)
  redis.call('HSET', name, 'stream', ARGV[6], 'body', ARGV[7])
  redis.call('PEXPIRE', name, ARGV[5])
end
redis.call('SADD', streams(worker), meta)
redis.call('ZADD', WORKERS, 'NX', text(now() + ARGV[2]), worker)
return 1
""")

CLAIM: Final = Script("""
-- KEYS: meta, log; ARGV: worker, lease ms, nonce, force (0, 1), live ms
-- returns {epoch, seq}, or 0
local meta, worker = KEYS[1], ARGV[1]
local known = redis.call('HMGET', meta, 'open', 'worker', 'nonce')
if not known[1] then return 0 end
local seq = redis.call('XLEN', KEYS[2])
if known[3] == ARGV[3] then return {tonumber(known[1]), seq} end  -- the earlier reply was lost
local owner = known[2]
local living, force = alive(owner), ARGV[4] == '1'
if not force and (living or not fresh(worker, ARGV[2])) then return 0 end
if living and owner ~= worker then tell(owner, 'f', meta) end
give(meta, owner, worker)
local epoch = redis.call('HINCRBY', meta, 'epoch', 1)
redis.call('HSET', meta, 'open', epoch, 'nonce', ARGV[3])
redis.call('PEXPIRE', meta, ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('ZADD', WORKERS, 'NX', text(now() + ARGV[2]), worker)
return {epoch, seq}
""")

OPEN: Final = Script("""
-- KEYS: meta, log; ARGV: worker, which is going to follow; returns {open, seq}, or 0
local known = redis.call('HMGET', KEYS[1], 'open', 'seq', 'worker')
if known[1] then
  if known[3] ~= ARGV[1] then redis.call('HSET', KEYS[1], 'followed', text(now())) end
  return {1, redis.call('XLEN', KEYS[2])}
end
if known[2] and redis.call('EXISTS', KEYS[2]) == 1 then return {0, tonumber(known[2])} end
return 0
""")

FIND: Final = Script("""
-- KEYS: meta, log; returns {open, seq, record}, or 0
local known = redis.call('HMGET', KEYS[1], 'open', 'seq', 'record')
if known[1] then return {1, redis.call('XLEN', KEYS[2]), known[3]} end
if known[2] then return {0, tonumber(known[2]), known[3]} end
return 0
""")

READ: Final = Script("""
-- KEYS: log; ARGV: after, bytes; returns the next frames, at least one if it is there
local AT_ONCE = 64
local frames, size, position, limit = {}, 0, tonumber(ARGV[1]), tonumber(ARGV[2])
while true do
  local entries = redis.call('XRANGE', KEYS[1], (position + 1) .. '-0', '+', 'COUNT', AT_ONCE)
  for _, entry in ipairs(entries) do
    -- the end, or a hole: whoever reads across one would not know
    if entry[1] ~= (position + 1) .. '-0' then return frames end
    size = size + #entry[2][2]
    if size > limit and #frames > 0 then return frames end
    frames[#frames + 1] = entry[2][2]
    position = position + 1
  end
  if #entries < AT_ONCE then return frames end
end
""")

OPEN_LOG: Final = -1
NO_LOG: Final = -2
"""What FOLLOW says of a stream that runs, or of one that is not there any more."""

FOLLOW: Final = Script("""
-- KEYS: of each stream that is followed: meta, log
-- returns of each the number of frames it ended with, or OPEN_LOG, NO_LOG
local results, time = {}, text(now())
for number = 1, #KEYS / 2 do
  local meta = KEYS[2 * number - 1]
  local known = redis.call('HMGET', meta, 'open', 'seq')
  if known[1] then
    redis.call('HSET', meta, 'followed', time)
    results[number] = -1
  elseif known[2] and redis.call('EXISTS', KEYS[2 * number]) == 1 then
    results[number] = tonumber(known[2])
  else
    results[number] = -2
  end
end
return results
""")

FOLLOWED: Final = Script("""
-- KEYS: meta; returns for how many milliseconds nobody has followed, or -1
local followed = redis.call('HGET', KEYS[1], 'followed')
if not followed then return -1 end
return math.max(now() - tonumber(followed), 0)
""")

CANCEL: Final = Script("""
-- KEYS: meta; ARGV: worker, which asks
local known = redis.call('HMGET', KEYS[1], 'open', 'worker')
local owner = known[2]
if known[1] and owner ~= ARGV[1] and alive(owner) then tell(owner, 'c', KEYS[1]) end
return 1
""")

POKE: Final = Script("""
-- ARGV: worker, which tells itself
tell(ARGV[1], 'p', '')
return 1
""")

HEARTBEAT: Final = Script("""
-- ARGV: worker, lease ms; returns how many streams it produces
redis.call('ZADD', WORKERS, text(now() + ARGV[2]), ARGV[1])
return redis.call('SCARD', streams(ARGV[1]))
""")

ORPHANS: Final = Script("""
-- ARGV: worker, which asks; lease ms; how many; returns meta keys
local found, limit = {}, tonumber(ARGV[3])
if not fresh(ARGV[1], ARGV[2]) then return found end
local gone = redis.call('ZRANGEBYSCORE', WORKERS, '-inf', '(' .. text(now()), 'LIMIT', 0, limit)
for _, worker in ipairs(gone) do
  if worker ~= ARGV[1] and #found < limit then
    -- a random portion: workers that recover together get in each other's way less
    local metas = redis.call('SRANDMEMBER', streams(worker), limit - #found)
    if #metas == 0 then redis.call('ZREM', WORKERS, worker) end
    for _, meta in ipairs(metas) do
      if redis.call('HEXISTS', meta, 'open') == 1 then
        found[#found + 1] = meta
      else
        redis.call('SREM', streams(worker), meta)
      end
    end
  end
end
return found
""")

DISOWN: Final = Script("""
-- KEYS: metas; ARGV: worker, which has no writer for them
for _, meta in ipairs(KEYS) do
  local known = redis.call('HMGET', meta, 'open', 'worker')
  if known[1] and known[2] == ARGV[1] then
    lose(meta, ARGV[1])
  else
    redis.call('SREM', streams(ARGV[1]), meta)
  end
end
return 1
""")

LEAVE: Final = Script("""
-- ARGV: worker, which stops; what it has not ended is without producer at once
redis.call('DEL', 'tellstream:worker:' .. ARGV[1] .. ':inbox')
if redis.call('SCARD', streams(ARGV[1])) == 0 then
  redis.call('ZREM', WORKERS, ARGV[1])
else
  redis.call('ZADD', WORKERS, 0, ARGV[1])
end
return 1
""")

SCRIPTS: Final = (
    APPEND, CREATE, CLAIM, OPEN, FIND, READ, FOLLOW, FOLLOWED,
    CANCEL, POKE, HEARTBEAT, ORPHANS, DISOWN, LEAVE,
)  # fmt: skip
"""All of them: loaded on each new connection."""
