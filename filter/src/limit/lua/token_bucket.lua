-- Token bucket, `tb`: `burst` tokens when full, and `requests` more in each `per`.
--
-- A bucket is stored as its theoretical arrival time (GCRA, ITU-T I.371 annex A): the instant at
-- which it will be full again. One token is worth per / requests microseconds, which is seldom a
-- whole number, so times are kept as whole microseconds plus a fraction counted in 1 / requests.
--
-- Stored value       "<us>:<fraction>:<requests>:<full>": the TAT, and how many microseconds it can
--                    at most lie ahead, which is the time that an empty bucket takes to fill
-- Expiry             when the bucket is full again: a full bucket and an absent one are the same
-- Commands           GET, and at most one SET
-- Complexity         O(1) in time and memory
--
-- Every intermediate is a whole number below 2^53, to which doubles are exact. `span` splits its
-- product to stay there, and the longest span (a whole bucket) is at most 100 years by
-- configuration, 3.2e15 us, on top of a clock of 1.8e15 us.
local function token_bucket()
  -- The time that n tokens are worth: whole microseconds, and a fraction in 1 / requests.
  local function span(rule, n)
    local high, low = math.floor(n / 32768), n % 32768
    local upper = high * rule.rest
    local lower = (upper % rule.requests) * 32768 + low * rule.rest
    local carry = math.floor(upper / rule.requests) * 32768 + math.floor(lower / rule.requests)
    return n * rule.whole + carry, lower % rule.requests
  end

  local function minus(us, fraction, other_us, other_fraction, requests)
    us, fraction = us - other_us, fraction - other_fraction
    if fraction < 0 then us, fraction = us - 1, fraction + requests end
    return us, fraction
  end

  local function rounded_up(us, fraction)
    return us + (fraction > 0 and 1 or 0)
  end

  -- The stored time, its fraction rounded up where it was counted in other parts, and how far ahead
  -- it may lie. Anything else that a stranger left there counts as a full bucket, so that a broken
  -- value heals itself.
  local function stored(text, requests)
    local pattern = '^(%d+):(%d+):(%d+):(%d+)$'
    local us, fraction, denominator, full = string.match(text or '', pattern)
    us, fraction, full = tonumber(us), tonumber(fraction), tonumber(full)
    if not us or us > 9007199254740991 or full > FILL_MAX then return 0, 0, 0 end
    if fraction > 0 and (tonumber(denominator) ~= requests or fraction >= requests) then
      us, fraction = us + 1, 0
    end
    return us, fraction, full
  end

  -- What of the bucket is taken. It can be more than the whole when the limit was lowered: the
  -- surplus has to be paid off first. A time further ahead than it was ever written means that
  -- Redis's clock was set back; it is cut to what an empty bucket needs, and the cut is saved even
  -- when nothing is charged, or every later call would cut anew and the bucket never refill.
  local function read(rule)
    rule.whole = math.floor(rule.per / rule.requests)
    rule.rest = rule.per % rule.requests
    local us, fraction, ceiling = stored(redis.call('GET', rule.key), rule.requests)
    us = us - rule.now
    if us < 0 then us, fraction = 0, 0 end
    rule.changed = us > ceiling
    if rule.changed then us, fraction = ceiling, 0 end
    local full, full_fraction = span(rule, rule.burst)
    rule.full = rounded_up(full, full_fraction)
    rule.ceiling = math.max(ceiling, rule.full)
    rule.taken, rule.taken_fraction = us, fraction
    rule.room, rule.room_fraction = minus(full, full_fraction, us, fraction, rule.requests)
  end

  -- How many lots of `size` tokens a time is worth, at most `most`. The quotient of doubles may be
  -- off by one; the two loops make it exact.
  local function worth(rule, us, fraction, size, most)
    local function fits(k)
      local other_us, other_fraction = span(rule, k * size)
      return other_us < us or (other_us == us and other_fraction <= fraction)
    end
    local k = math.min(most, math.max(0, math.floor(us / rule.per * rule.requests / size)))
    while k > 0 and not fits(k) do k = k - 1 end
    while k < most and fits(k + 1) do k = k + 1 end
    return k
  end

  local function lots(rule, size, most)
    return worth(rule, rule.room, rule.room_fraction, size, most)
  end

  local function charge(rule, tokens)
    local us, fraction = span(rule, tokens)
    rule.room, rule.room_fraction =
      minus(rule.room, rule.room_fraction, us, fraction, rule.requests)
    us, fraction = rule.taken + us, rule.taken_fraction + fraction
    if fraction >= rule.requests then us, fraction = us + 1, fraction - rule.requests end
    rule.taken, rule.taken_fraction, rule.ceiling = us, fraction, rule.full
  end

  -- Since the charge the bucket may have been full, and would then have gained nothing. So what it
  -- has gained since is kept, at most all of it. A part of a token that is given back counts as one.
  local function refund(rule, tokens, at)
    local us, fraction = span(rule, math.min(tokens, rule.burst))
    us = us - (rule.now - at)
    if us < 0 then return 0 end
    if us > rule.taken or (us == rule.taken and fraction > rule.taken_fraction) then
      us, fraction = rule.taken, rule.taken_fraction
    end
    rule.taken, rule.taken_fraction =
      minus(rule.taken, rule.taken_fraction, us, fraction, rule.requests)
    local whole = worth(rule, us, fraction, 1, tokens)
    local whole_us, whole_fraction = span(rule, whole)
    local part = us > whole_us or fraction > whole_fraction
    return part and whole + 1 or whole
  end

  local function save(rule, ttl)
    local text = string.format('%.0f:%.0f:%.0f:%.0f',
      rule.now + rule.taken, rule.taken_fraction, rule.requests, rule.ceiling)
    redis.call('SET', rule.key, text, 'PX', ttl)
  end

  local function retry(rule)
    local us, fraction = span(rule, rule.cost)
    us, fraction = minus(us, fraction, rule.room, rule.room_fraction, rule.requests)
    return us < 0 and 0 or rounded_up(us, fraction)
  end

  local function reset(rule)
    return rounded_up(rule.taken, rule.taken_fraction)
  end

  return {
    read = read, lots = lots, charge = charge, refund = refund, save = save, retry = retry,
    reset = reset,
  }
end

