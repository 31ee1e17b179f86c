"""The script that appends: fenced by the writer's epoch, and to many streams in one call."""

from typing import Final

from tellstream.eventlog.redis_lua import Script

END: Final = 1
RELEASE: Final = 2
RECORD: Final = 4
"""Bits of an append's flags."""
REFUSALS: Final = {
    -1: "Redis no longer knows the stream",
    -2: "the stream was taken over",
    -3: "somebody else has ended the stream",
    -4: "Redis has lost the last frames",
    -5: "the log in Redis is damaged",
}
"""Why an append was refused, for ever."""

# Most of the time that Redis spends on an append goes into calls from Lua, not into the commands:
# so an append is three of them as a rule, and what is rarely wanted is fetched when it is.
APPEND: Final = Script("""
-- KEYS: of each append: log, meta
-- ARGV: retention ms, tombstone ms, live ms; of each: epoch, first, flags, count, [record,] frames
local retention, tombstone, live = ARGV[1], ARGV[2], ARGV[3]
local call = redis.call
local function refusal(log, meta, epoch, last, ending)
  local known = call('HMGET', meta, 'epoch', 'seq')
  if not known[1] then return -1 end
  if known[1] ~= epoch then return -2 end
  if ending and tonumber(known[2]) == last then return last end  -- an earlier reply was lost
  return -3
end
local function close(log, meta, last, release)
  local known = call('HMGET', meta, 'worker', 'name')
  call('XADD', log, last .. '-1', 'e', '')
  call('HSET', meta, 'seq', last)
  call('HDEL', meta, 'open')
  call('SREM', streams(known[1]), meta)
  call('PEXPIRE', log, retention)
  call('PEXPIRE', meta, tombstone)
  if known[2] and release then
    call('DEL', known[2])
  elseif known[2] then
    call('PEXPIRE', known[2], retention)
  end
end
local function keep(log, meta)
  local name = call('HGET', meta, 'name')
  call('PEXPIRE', log, live)
  call('PEXPIRE', meta, live)
  if name then call('PEXPIRE', name, live) end
end
local function lost(meta, status)
  lose(meta, call('HGET', meta, 'worker'))
  return status
end
local function append(log, meta, epoch, first, flags, record, at, count)
  local last, ending = first + count - 1, flags % 2 == 1
  if call('HGET', meta, 'open') ~= epoch then return refusal(log, meta, epoch, last, ending) end
  local seq = call('XLEN', log)
  if last < seq then return seq end  -- an old try that arrives late
  if first > seq + 1 then return lost(meta, -4) end
  for number = seq + 1, last do
    local id = redis.pcall('XADD', log, number .. '-0', 'd', ARGV[at + number - first])
    if type(id) == 'table' then
      if string.find(id.err, 'ID specified', 1, true) then return lost(meta, -5) end
      return id.err  -- Redis takes no writes now: memory or disk is full, it is a replica
    end
  end
  if record then call('HSET', meta, 'record', record) end
  if ending then
    close(log, meta, last, flags % 4 >= 2)
  elseif seq == 0 or seq % 1000 > last % 1000 then
    keep(log, meta)
  end
  return last
end
local results, at = {}, 4
for number = 1, #KEYS / 2 do
  local flags, count = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local epoch, first, record = ARGV[at], tonumber(ARGV[at + 1]), nil
  at = at + 4
  if flags >= 4 then
    record = ARGV[at]
    at = at + 1
  end
  local log, meta = KEYS[2 * number - 1], KEYS[2 * number]
  local status = append(log, meta, epoch, first, flags, record, at, count)
  if type(status) == 'string' then return redis.error_reply(status) end
  results[number] = status
  at = at + count
end
return results
""")
