"""What all scripts that run in Redis have in common."""

import hashlib
from typing import Final

_PREAMBLE: Final = """
local WORKERS, LOST = 'tellstream:workers', 'lost'
local INBOX_ENTRIES, INBOX_MS = 1000, 3600000  -- a worker reads its inbox within a second
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function text(number) return string.format('%.0f', number) end
local function streams(worker) return 'tellstream:worker:' .. worker .. ':streams' end
local function alive(worker)
  local expiry = redis.call('ZSCORE', WORKERS, worker)
  return expiry and tonumber(expiry) >= now()
end
-- After an outage all leases look as if they were over. Who has not renewed its own since must not
-- judge: all renew theirs three times per lease, so while this one is good for half a lease, the
-- others had the chance.
local function fresh(worker, lease)
  local expiry = redis.call('ZSCORE', WORKERS, worker)
  return expiry and tonumber(expiry) >= now() + lease / 2
end
-- what: c = somebody asks to cancel this stream, f = it was taken from you, p = look again
local function tell(worker, what, value)
  local inbox = 'tellstream:worker:' .. worker .. ':inbox'
  redis.call('XADD', inbox, 'MAXLEN', '~', INBOX_ENTRIES, '*', what, value)
  redis.call('PEXPIRE', inbox, INBOX_MS)
end
local function give(meta, from, to)
  redis.call('SREM', streams(from), meta)
  redis.call('SADD', streams(to), meta)
  redis.call('HSET', meta, 'worker', to)
end
local function lose(meta, from)
  give(meta, from, LOST)
  redis.call('ZADD', WORKERS, 0, LOST)
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
