-- Token bucket: admit as many of COUNT equal requests as every bucket has room for.
--
-- A bucket is stored as its theoretical arrival time (GCRA, ITU-T I.371 annex A): the instant at
-- which it will be full again. One token is worth per / requests microseconds, which is seldom a
-- whole number, so times are kept as whole microseconds plus a fraction counted in 1 / requests.
--
-- KEYS[i]            bucket of rule i
-- ARGV[1]            COUNT, how many equal requests wait, 1 to 10^6
-- ARGV[4i-2]         rule i: requests, tokens gained in each `per`, 1 to 10^9
-- ARGV[4i-1]         rule i: per, microseconds
-- ARGV[4i]           rule i: burst, tokens in a full bucket, 1 to 10^9
-- ARGV[4i+1]         rule i: cost of one request in tokens, 0 (a look without a charge) to burst
-- Reply              { admitted, remaining_1, retry_us_1, reset_us_1, remaining_2, ... }
--   admitted         how many of COUNT pass, first come first served; each is charged to every
--                    bucket, the others to none
--   remaining_i      whole tokens left in bucket i
--   retry_us_i       microseconds until bucket i has room for one more request; 0: it has
--   reset_us_i       microseconds until bucket i is full
-- Stored value       "<us>:<fraction>:<requests>:<full>": the TAT, and how many microseconds it can
--                    at most lie ahead, which is the time that an empty bucket takes to fill
-- Expiry             when the bucket is full again: a full bucket and an absent one are the same
-- Commands           TIME, then GET and at most one SET a key
--
-- It must be one script because the answer of one bucket decides the charge of the others.
-- Lua numbers are doubles: every intermediate is a whole number below 2^53. `span` splits its
-- product to stay there, and the longest span (a whole bucket) is at most 100 years by
-- configuration, 3.2e15 us, on top of a clock of 1.8e15 us.

-- The time that n tokens are worth: whole microseconds, and a fraction in 1 / requests.
local function span(rule, n)
  local high, low = math.floor(n / 32768), n % 32768
  local upper = high * rule.rest
  local lower = (upper % rule.requests) * 32768 + low * rule.rest
  local carry = math.floor(upper / rule.requests) * 32768 + math.floor(lower / rule.requests)
  return n * rule.whole + carry, lower % rule.requests
end

-- How many lots of `cost` tokens, at most `most`, fit into the free room. The quotient of doubles
-- may be off by one; the two loops make it exact.
local function lots(rule, cost, most)
  local function fits(k)
    local us, fraction = span(rule, k * cost)
    return us < rule.room or (us == rule.room and fraction <= rule.room_fraction)
  end
  local k = math.min(most, math.max(0, math.floor(rule.room / rule.per * rule.requests / cost)))
  while k > 0 and not fits(k) do k = k - 1 end
  while k < most and fits(k + 1) do k = k + 1 end
  return k
end

local function minus(us, fraction, other_us, other_fraction, requests)
  us, fraction = us - other_us, fraction - other_fraction
  if fraction < 0 then us, fraction = us - 1, fraction + requests end
  return us, fraction
end

local LARGEST = 9007199254740991

-- The stored time, its fraction rounded up where it was counted in other parts, and how far ahead
-- it may lie. Anything else that a stranger left there counts as a full bucket, so that a broken
-- value heals itself.
local function stored(text, requests)
  local pattern = '^(%d+):(%d+):(%d+):(%d+)$'
  local us, fraction, denominator, full = string.match(text or '', pattern)
  us, fraction, full = tonumber(us), tonumber(fraction), tonumber(full)
  if not us or us > LARGEST or full > LARGEST / 2 then return 0, 0, 0 end
  if fraction > 0 and (tonumber(denominator) ~= requests or fraction >= requests) then
    us, fraction = us + 1, 0
  end
  return us, fraction, full
end

-- What of the bucket is taken at `now`. It can be more than the whole when the limit was lowered:
-- the surplus has to be paid off first. A time further ahead than it was ever written means that
-- Redis's clock was set back; it is cut to what an empty bucket needs, and the cut is saved even
-- when nothing is charged, or every later call would cut anew and the bucket never refill.
local function read(rule, now)
  rule.whole = math.floor(rule.per / rule.requests)
  rule.rest = rule.per % rule.requests
  local us, fraction, ceiling = stored(redis.call('GET', rule.key), rule.requests)
  us = us - now
  if us < 0 then us, fraction = 0, 0 end
  rule.cut = us > ceiling
  if rule.cut then us, fraction = ceiling, 0 end
  local full, full_fraction = span(rule, rule.burst)
  rule.full = full + (full_fraction > 0 and 1 or 0)
  rule.ceiling = math.max(ceiling, rule.full)
  rule.taken, rule.taken_fraction = us, fraction
  rule.room, rule.room_fraction = minus(full, full_fraction, us, fraction, rule.requests)
end

local function charge(rule, tokens)
  local us, fraction = span(rule, tokens)
  rule.room, rule.room_fraction =
    minus(rule.room, rule.room_fraction, us, fraction, rule.requests)
  us, fraction = rule.taken + us, rule.taken_fraction + fraction
  if fraction >= rule.requests then us, fraction = us + 1, fraction - rule.requests end
  rule.taken, rule.taken_fraction, rule.ceiling = us, fraction, rule.full
end

-- One millisecond more than the time left, since it is rounded down, and one for the clock that
-- Redis expires keys by, which may stand a little behind TIME.
local function save(rule, now)
  local text = string.format('%.0f:%.0f:%.0f:%.0f',
    now + rule.taken, rule.taken_fraction, rule.requests, rule.ceiling)
  redis.call('SET', rule.key, text, 'PX', string.format('%.0f', math.floor(rule.taken / 1000) + 2))
end

local function retry_after(rule)
  local us, fraction = span(rule, rule.cost)
  us, fraction = minus(us, fraction, rule.room, rule.room_fraction, rule.requests)
  if us < 0 then return 0 end
  return us + (fraction > 0 and 1 or 0)
end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local admitted = tonumber(ARGV[1])
local rules = {}
for i, key in ipairs(KEYS) do
  local rule = {
    key = key,
    requests = tonumber(ARGV[4 * i - 2]),
    per = tonumber(ARGV[4 * i - 1]),
    burst = tonumber(ARGV[4 * i]),
    cost = tonumber(ARGV[4 * i + 1]),
  }
  read(rule, now)
  if rule.cost > 0 then
    local most = math.min(admitted, math.floor(rule.burst / rule.cost))
    admitted = lots(rule, rule.cost, most)
  end
  rules[i] = rule
end

local reply = { admitted }
for _, rule in ipairs(rules) do
  local tokens = admitted * rule.cost
  if tokens > 0 then charge(rule, tokens) end
  if tokens > 0 or rule.cut then save(rule, now) end
  reply[#reply + 1] = lots(rule, 1, rule.burst)
  reply[#reply + 1] = retry_after(rule)
  reply[#reply + 1] = rule.taken + (rule.taken_fraction > 0 and 1 or 0)
end
return reply
