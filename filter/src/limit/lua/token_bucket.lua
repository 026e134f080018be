-- Token bucket, `tb`: `burst` tokens when full, and `requests` more in each `per`.
--
-- A bucket is stored as its theoretical arrival time (GCRA, ITU-T I.371 annex A): the instant at
-- which it will be full again. One token is worth per / requests microseconds, which is seldom a
-- whole number, so times are kept as whole microseconds plus a fraction counted in 1 / requests.
--
-- Stored value       "<us>:<fraction>:<requests>:<per>:<full>": the TAT, the rate that it counts in,
--                    and how many microseconds it can at most lie ahead, which is the time that an
--                    empty bucket takes to fill
-- Expiry             when the bucket is full again: a full bucket and an absent one are the same
-- Commands           GET, and at most one SET
-- Complexity         O(1) in time and memory
--
-- Every intermediate is a whole number below 2^53, to which doubles are exact. `span` splits its
-- product to stay there, and the longest span (a whole bucket) is at most 100 years by
-- configuration, 3.2e15 us, on top of a clock of 1.8e15 us.
--
-- When a limit changes, the tokens that are taken stay taken. They come back at the rate of the limit
-- that charged them last, until another charges: so while two limits are asked for one bucket, it
-- admits no more than the wider would.
local function token_bucket()
  local function rate(requests, per)
    return {
      requests = requests,
      per = per,
      whole = math.floor(per / requests),
      rest = per % requests,
    }
  end

  -- The time that n tokens are worth: whole microseconds, and a fraction in 1 / requests.
  local function span(rate, n)
    local high, low = math.floor(n / 32768), n % 32768
    local upper = high * rate.rest
    local lower = (upper % rate.requests) * 32768 + low * rate.rest
    local carry = math.floor(upper / rate.requests) * 32768 + math.floor(lower / rate.requests)
    return n * rate.whole + carry, lower % rate.requests
  end

  local function minus(us, fraction, other_us, other_fraction, requests)
    us, fraction = us - other_us, fraction - other_fraction
    if fraction < 0 then us, fraction = us - 1, fraction + requests end
    return us, fraction
  end

  local function rounded_up(us, fraction)
    return us + (fraction > 0 and 1 or 0)
  end

  -- The stored time, its rate, and how far ahead it may lie. Anything that a stranger left there
  -- counts as a full bucket, so that a broken value heals itself.
  local function stored(text)
    local pattern = '^(%d+):(%d+):(%d+):(%d+):(%d+)$'
    local us, fraction, requests, per, full = string.match(text or '', pattern)
    us, fraction, full = tonumber(us), tonumber(fraction), tonumber(full)
    requests, per = tonumber(requests), tonumber(per)
    if not us or us > 9007199254740991 or full > FILL_MAX or fraction >= requests
      or requests > TOKENS_MAX or per < 1 or per > PER_MAX then
      return nil
    end
    return us, fraction, rate(requests, per), full
  end

  local function measure(rule)
    local full, full_fraction = span(rule.rate, rule.burst)
    rule.full = rounded_up(full, full_fraction)
    rule.room, rule.room_fraction =
      minus(full, full_fraction, rule.taken, rule.taken_fraction, rule.rate.requests)
  end

  -- Counts what is taken at the limit's own rate. Doubles do, as it happens once a change: rounded
  -- up, with a little more than they may be off by.
  local function convert(rule)
    local from, to = rule.rate, rule.own
    local us = rule.taken + rule.taken_fraction / from.requests
    us = math.ceil(us * from.requests / from.per * to.per / to.requests * 1.000000000000001)
    rule.rate, rule.taken, rule.taken_fraction = to, us, 0
    rule.ceiling, rule.changed = rounded_up(span(to, rule.burst)), true
  end

  -- Whether the whole bucket would take longer to fill than any may, at another limit's rate.
  local function is_too_slow(rule)
    local whole = rule.rate.whole
    return rule.rate ~= rule.own
      and (rule.burst * whole >= FILL_MAX or span(rule.rate, rule.burst) >= FILL_MAX)
  end

  -- What of the bucket is taken, at the rate that it is stored in. It can be more than the whole when
  -- the limit was lowered: the surplus has to come back first. A time further ahead than it was ever
  -- written means that Redis's clock was set back; it is cut to what an empty bucket needs, and the
  -- cut is saved even when nothing is charged, or every later call would cut anew and the bucket
  -- never refill.
  local function read(rule)
    rule.own = rate(rule.requests, rule.per)
    local us, fraction, kept, ceiling = stored(redis.call('GET', rule.key))
    if not us or us < rule.now then us, fraction, kept, ceiling = rule.now, 0, rule.own, 0 end
    if kept.requests == rule.requests and kept.per == rule.per then kept = rule.own end
    us = us - rule.now
    rule.changed = us > ceiling
    if rule.changed then us, fraction = ceiling, 0 end
    rule.rate, rule.taken, rule.taken_fraction, rule.ceiling = kept, us, fraction, ceiling
    if is_too_slow(rule) then convert(rule) end
    measure(rule)
  end

  -- How many lots of `size` tokens a time is worth, at most `most`. The quotient of doubles may be
  -- off by one; the two loops make it exact.
  local function worth(rate, us, fraction, size, most)
    local function fits(k)
      local other_us, other_fraction = span(rate, k * size)
      return other_us < us or (other_us == us and other_fraction <= fraction)
    end
    local k = math.min(most, math.max(0, math.floor(us / rate.per * rate.requests / size)))
    while k > 0 and not fits(k) do k = k - 1 end
    while k < most and fits(k + 1) do k = k + 1 end
    return k
  end

  local function lots(rule, size, most)
    return worth(rule.rate, rule.room, rule.room_fraction, size, most)
  end

  local function charge(rule, tokens)
    local own = rule.own
    if rule.rate ~= own then convert(rule) end
    local us, fraction = span(own, tokens)
    us, fraction = rule.taken + us, rule.taken_fraction + fraction
    if fraction >= own.requests then us, fraction = us + 1, fraction - own.requests end
    rule.taken, rule.taken_fraction = us, fraction
    measure(rule)
    rule.ceiling = rule.full
  end

  -- Since the charge the bucket may have been full, and would then have gained nothing. So what it
  -- has gained since is kept, at most all of it; at another limit's rate nobody knows how much that
  -- is. A part of a token that is given back counts as one.
  local function refund(rule, tokens, at)
    if rule.rate ~= rule.own then return 0 end
    local us, fraction = span(rule.rate, math.min(tokens, rule.burst))
    us = us - (rule.now - at)
    if us < 0 then return 0 end
    if us > rule.taken or (us == rule.taken and fraction > rule.taken_fraction) then
      us, fraction = rule.taken, rule.taken_fraction
    end
    rule.taken, rule.taken_fraction =
      minus(rule.taken, rule.taken_fraction, us, fraction, rule.rate.requests)
    local whole = worth(rule.rate, us, fraction, 1, tokens)
    local whole_us, whole_fraction = span(rule.rate, whole)
    local part = us > whole_us or fraction > whole_fraction
    return part and whole + 1 or whole
  end

  local function save(rule, ttl)
    local text = string.format('%.0f:%.0f:%.0f:%.0f:%.0f', rule.now + rule.taken,
      rule.taken_fraction, rule.rate.requests, rule.rate.per, rule.ceiling)
    redis.call('SET', rule.key, text, 'PX', ttl)
  end

  local function retry(rule)
    local us, fraction = span(rule.rate, rule.cost)
    us, fraction = minus(us, fraction, rule.room, rule.room_fraction, rule.rate.requests)
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

