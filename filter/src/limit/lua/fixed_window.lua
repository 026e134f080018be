-- Fixed window, `fw`: `requests` in each window, counted from zero when the next begins. Windows
-- are the multiples of `per` on Redis's clock.
--
-- Stored value       "<index>:<count>:<per>": the tokens charged from index x per on
-- Expiry             when the window ends
-- Commands           GET, and at most one SET
-- Complexity         O(1) in time and memory
--
-- Of two windows that meet, since `per` was changed, the one that ends later goes on with the count,
-- so that a change forgets nothing. A window that is yet to begin means that Redis's clock was set
-- back; its count goes on in the window of now.
--
-- Doubles are exact: a whole number below 2^53 divided by another is off by less than its share of
-- one, so the floor of the quotient is right. The largest number is a clock and a window.
local function fixed_window()
  local function use(rule, index, per)
    rule.index, rule.window, rule.ends = index, per, (index + 1) * per
  end

  local function read(rule)
    local text = redis.call('GET', rule.key) or ''
    local index, count, per = string.match(text, '^(%d+):(%d+):(%d+)$')
    index, count, per = tonumber(index), tonumber(count), tonumber(per)
    use(rule, math.floor(rule.now / rule.per), rule.per)
    rule.count, rule.changed = 0, false
    if not index or count > TOKENS_MAX or per < 1 or per > PER_MAX then return end
    local at = math.floor(rule.now / per)
    if index < at then return end
    if (at + 1) * per > rule.ends then use(rule, at, per) end
    rule.count, rule.changed = count, index > at or rule.window ~= per
  end

  local function lots(rule, size, most)
    return math.min(most, math.max(0, math.floor((rule.requests - rule.count) / size)))
  end

  local function charge(rule, tokens)
    rule.count = rule.count + tokens
  end

  local function refund(rule, tokens, taken_at)
    if rule.window ~= rule.per or taken_at < rule.ends - rule.window then return 0 end
    local given = math.min(tokens, rule.count)
    rule.count = rule.count - given
    return given
  end

  local function save(rule, ttl)
    local text = string.format('%.0f:%.0f:%.0f', rule.index, rule.count, rule.window)
    redis.call('SET', rule.key, text, 'PX', ttl)
  end

  local function retry(rule)
    return rule.count + rule.cost <= rule.requests and 0 or rule.ends - rule.now
  end

  local function reset(rule)
    return rule.count > 0 and rule.ends - rule.now or 0
  end

  return {
    read = read, lots = lots, charge = charge, refund = refund, save = save, retry = retry,
    reset = reset,
  }
end

