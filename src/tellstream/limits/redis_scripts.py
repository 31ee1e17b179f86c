"""The scripts that count in Redis: each is one atomic step and one round trip.

Keys, ``N`` being the tenant; all of a tenant are in one slot of a cluster:

``tellstream:{t:N}:rate``                   string, the state of its request rate
``tellstream:{t:N}:u:<subject>:rate``       the same of a subject, named by a digest
``tellstream:{t:N}:leases``                 sorted set: running streams by expiry, Unix seconds
``tellstream:{t:N}:u:<subject>:leases``     the same of a subject, where these are limited
``tellstream:{t:N}:held``                   hash: stream to "tokens cost"; ``#tokens``, ``#cost``:
                                            the sums
``tellstream:{t:N}:spent``                  hash: day, tokens, month, cost, seeded, version

The clock is that of Redis, one for all workers; tests pass their own as the first argument. The
rules are those of tally.py and gcra.py.
"""

import hashlib
from typing import Final

from tellstream.limits.counters import ADVANCE_LEAST, ADVANCE_SHARE, SWEPT_AT_ONCE
from tellstream.limits.rates import WINDOW

_PREAMBLE: Final = """
local SPENT_MS = 63 * 86400000  -- longer than any month it counts
local function clock(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local function exact(number) return string.format('%.17g', number) end
local function text(number) return string.format('%.0f', number) end
-- Months since the year 0 from Unix days: the proleptic Gregorian calendar in eras of 400 years
-- that begin in March.
local function month_of(day)
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524)
    - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local month = math.floor((5 * doy + 2) / 153) + 2
  return (yoe + era * 400) * 12 + month
end
local function roll(spent, now)
  local row = redis.call('HMGET', spent, 'day', 'month')
  local day = math.floor(now / 86400)
  local month = month_of(day)
  if day > tonumber(row[1] or 0) then redis.call('HSET', spent, 'day', text(day), 'tokens', 0) end
  if month > tonumber(row[2] or 0) then
    redis.call('HSET', spent, 'month', text(month), 'cost', 0)
  end
end
local function parse(value)
  if not value then return 0, 0 end
  local tokens, cost = string.match(value, '^(%d+) (%d+)$')
  return tonumber(tokens), tonumber(cost)
end
local function drop(held, id)
  -- 0 - 0 and not -0, which is no integer to Redis
  local tokens, cost = parse(redis.call('HGET', held, id))
  redis.call('HINCRBY', held, '#tokens', text(0 - tokens))
  redis.call('HINCRBY', held, '#cost', text(0 - cost))
  redis.call('HDEL', held, id)
end
"""


class Script:
    """One script.

    Attributes:
        source: the Lua text.
        sha: the digest under which Redis keeps it once it is loaded.
    """

    __slots__ = ("sha", "source")

    def __init__(self, body: str) -> None:
        self.source = _PREAMBLE + body
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


TAKE: Final = Script(
    f"local WINDOW = {WINDOW:.0f}"
    """
-- KEYS: rate… ARGV: clock, whether to take, limit…
-- Returns the clock, and the state of each before.
local now = clock(ARGV[1])
local before, after, lives = {exact(now)}, {}, {}
local passes = ARGV[2] == '1'
for n, key in ipairs(KEYS) do
  local emission = WINDOW / tonumber(ARGV[n + 2])
  local state = redis.call('GET', key)
  before[n + 1] = state or ''
  local following = math.max(tonumber(state or now), now) + emission
  after[n], lives[n] = exact(following), following - now
  if following - now > WINDOW + emission / 4 then passes = false end
end
if passes then
  for n, key in ipairs(KEYS) do
    redis.call('SET', key, after[n], 'PX', text(math.ceil(lives[n] * 1000) + 1000))
  end
end
return before
"""
)

RESERVE: Final = Script(
    f"local SWEPT_AT_ONCE, ADVANCE_SHARE = {SWEPT_AT_ONCE}, {ADVANCE_SHARE}\n"
    f"local ADVANCE_LEAST = {ADVANCE_LEAST}"
    """
-- KEYS: leases, leases of the subject, held, spent
-- ARGV: clock, stream, lease s, lapsed s, more, by subject, caps (-1: none): streams, streams of
-- the subject, tokens, budget; need: prompt tokens, prompt cost, cost of a token; output tokens:
-- wanted, needed; seed ('' or): version, tokens, cost
-- Returns status, clock, output tokens, version, swept; if unseeded, the keys of held.
local leases, subject, held, spent = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, id = clock(ARGV[1]), ARGV[2]
local lease_s, lapsed_s = tonumber(ARGV[3]), tonumber(ARGV[4])
local more, by_subject = ARGV[5] == '1', ARGV[6] == '1'
local function cap(n) local value = tonumber(ARGV[n]) return value >= 0 and value end
local prompt, prompt_cost = tonumber(ARGV[11]), tonumber(ARGV[12])
local token_cost, wanted, needed = tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])

local swept = 0
local seeded = redis.call('HGET', spent, 'seeded') == '1'
if seeded and ARGV[16] == '' then
  local lost = redis.call(
    'ZRANGEBYSCORE', leases, '-inf', exact(now - lapsed_s), 'LIMIT', 0, SWEPT_AT_ONCE)
  for _, other in ipairs(lost) do
    drop(held, other)
    redis.call('ZREM', leases, other)
    swept = swept + 1
  end
  if swept > 0 then
    seeded = false
    redis.call('HSET', spent, 'seeded', 0)
    redis.call('HINCRBY', spent, 'version', 1)
  end
end
local version = redis.call('HGET', spent, 'version') or '0'
local function answer(status, tokens)
  return {status, exact(now), text(tokens or 0), version, swept}
end

if not seeded then
  if ARGV[16] ~= version then
    local reply = answer('unseeded')
    reply[6] = redis.call('HKEYS', held)
    return reply
  end
  local day = math.floor(now / 86400)
  redis.call('HSET', spent, 'seeded', 1, 'day', text(day), 'tokens', ARGV[17],
    'month', text(month_of(day)), 'cost', ARGV[18])
end
roll(spent, now)
redis.call('PEXPIRE', spent, SPENT_MS)

local mine = redis.call('HGET', held, id)
local my_tokens, my_cost = parse(mine)
if not mine then
  if more then return answer('gone') end
  local most = cap(7)
  if most and redis.call('ZCOUNT', leases, '(' .. exact(now), '+inf') >= most then
    return answer('streams')
  end
  most = cap(8)
  if most then
    redis.call('ZREMRANGEBYSCORE', subject, '-inf', exact(now - lapsed_s))
    if redis.call('ZCOUNT', subject, '(' .. exact(now), '+inf') >= most then
      return answer('subject_streams')
    end
  end
end

local used = redis.call('HMGET', spent, 'tokens', 'cost')
local sums = redis.call('HMGET', held, '#tokens', '#cost')
local held_tokens = tonumber(sums[1] or 0) - my_tokens
local held_cost = tonumber(sums[2] or 0) - my_cost
local tokens_cap, budget = cap(9), cap(10)
local granted, most = wanted, nil
if tokens_cap then
  local left = tokens_cap - tonumber(used[1]) - prompt
  if left < 1 then return answer('tokens') end
  most = left - held_tokens
  if most < 1 then return answer('tokens_held') end
end
local least = prompt_cost + token_cost
if budget and least > 0 then
  local left = budget - tonumber(used[2]) - least
  if left < 0 then return answer('budget') end
  if left < held_cost then return answer('budget_held') end
  if token_cost > 0 then
    local affordable = 1 + math.floor((left - held_cost) / token_cost)
    most = math.min(most or affordable, affordable)
  end
end
if most then
  local spare = most - needed
  if spare > 0 then
    most = needed + math.max(math.floor(spare / ADVANCE_SHARE), math.min(ADVANCE_LEAST, spare))
  end
  granted = math.min(most, wanted)
end

local tokens = math.max(prompt + granted, my_tokens)
local cost = math.max(prompt_cost + granted * token_cost, my_cost)
redis.call('HSET', held, id, text(tokens) .. ' ' .. text(cost))
redis.call('HINCRBY', held, '#tokens', text(tokens - my_tokens))
redis.call('HINCRBY', held, '#cost', text(cost - my_cost))
redis.call('ZADD', leases, exact(now + lease_s), id)
local life = text(math.ceil((lease_s + lapsed_s) * 2000))
redis.call('PEXPIRE', leases, life)
redis.call('PEXPIRE', held, life)
if by_subject then
  redis.call('ZADD', subject, exact(now + lease_s), id)
  redis.call('PEXPIRE', subject, life)
end
return answer('ok', granted)
"""
)

SETTLE: Final = Script(
    """
-- KEYS: leases, leases of the subject, held, spent
-- ARGV: clock, stream, tokens, cost, whether it was used
local now, id = clock(ARGV[1]), ARGV[2]
local known = redis.call('HEXISTS', KEYS[3], id) == 1
redis.call('ZREM', KEYS[1], id)
redis.call('ZREM', KEYS[2], id)
if known then drop(KEYS[3], id) end
if ARGV[5] ~= '1' then return 0 end
if known and redis.call('HGET', KEYS[4], 'seeded') == '1' then
  roll(KEYS[4], now)
  redis.call('HINCRBY', KEYS[4], 'tokens', ARGV[3])
  redis.call('HINCRBY', KEYS[4], 'cost', ARGV[4])
else
  redis.call('HSET', KEYS[4], 'seeded', 0)
  redis.call('HINCRBY', KEYS[4], 'version', 1)
end
redis.call('PEXPIRE', KEYS[4], SPENT_MS)
return 1
"""
)

RENEW: Final = Script(
    """
-- KEYS: leases, held; or: leases of a subject. ARGV: clock, lease s, lapsed s, stream…
local now, lease_s = clock(ARGV[1]), tonumber(ARGV[2])
for n = 4, #ARGV do redis.call('ZADD', KEYS[1], 'XX', exact(now + lease_s), ARGV[n]) end
local life = text(math.ceil((lease_s + tonumber(ARGV[3])) * 2000))
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, life) end
return 1
"""
)

SCRIPTS: Final = (TAKE, RESERVE, SETTLE, RENEW)
