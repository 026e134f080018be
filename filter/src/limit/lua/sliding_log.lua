-- Sliding log, `sl`: `requests` in any window of `per`, exactly.
--
-- Stored value       a list of "<ends>:<count>:<sum>:<span>", in the order of `ends`: the time to
--                    which `count` tokens count, the sum of all counts up to here modulo 2^40, and
--                    how far `ends` lay ahead when it was written. What is charged at one instant is
--                    one entry. The ends of the list give what it holds without a walk.
-- Expiry             when the last entry ends
-- Commands           LINDEX twice, and at most LTRIM or DEL, LSET or RPUSH, PEXPIRE; LLEN and
--                    LINDEX to look for entries
-- Complexity         O(log n) time for n entries over or to wait for, amortised O(1) for each
--                    admitted call to drop them; a refund rewrites the entries from its own on;
--                    memory: at most an entry for each token
--
-- When `per` was shortened, new entries end no sooner than the last, and join it. An end further
-- ahead than it was written means that Redis's clock was set back; then all that is there counts as
-- charged now.
local function sliding_log()
  local SUM = 1099511627776

  local function parsed(text)
    local ends, count, sum, span = string.match(text or '', '^(%d+):(%d+):(%d+):(%d+)$')
    ends, count, sum, span = tonumber(ends), tonumber(count), tonumber(sum), tonumber(span)
    if not ends or ends > 9007199254740991 or count > SUM or sum >= SUM or span > PER_MAX then
      return nil
    end
    return { ends = ends, count = count, sum = sum, span = span }
  end

  local function entry(rule, index)
    return parsed(redis.call('LINDEX', rule.key, index))
  end

  -- The first entry after rule.head that `holds`, as do all after it; the last one does. It looks
  -- 1, 2, 4, ... entries further on, then halves.
  local function search(rule, holds)
    local low, high, length = rule.head, rule.head + 1, redis.call('LLEN', rule.key)
    while high < length - 1 and not holds(entry(rule, high)) do
      low, high = high, 2 * high - rule.head
    end
    high = math.min(high, length - 1)
    while high - low > 1 do
      local middle = math.floor((low + high) / 2)
      if holds(entry(rule, middle)) then high = middle else low = middle end
    end
    return high, entry(rule, high)
  end

  -- Tokens up to and with an entry.
  local function held(rule, last)
    return (last.sum - rule.first.sum + rule.first.count) % SUM
  end

  local function read(rule)
    rule.changed, rule.head, rule.total, rule.pushed = false, 0, 0, {}
    local text = redis.call('LINDEX', rule.key, -1)
    local last = parsed(text)
    rule.first = last and entry(rule, 0)
    rule.stale = text and (not rule.first or last.ends <= rule.now)
    if not rule.first or rule.stale then
      rule.first = nil
      return
    end
    rule.last = last
    if last.ends - rule.now > last.span then
      local total = held(rule, last)
      rule.last = { ends = rule.now + last.span, count = total, sum = total, span = last.span }
      rule.first, rule.stale, rule.changed, rule.pushed = rule.last, true, true, { rule.last }
    elseif rule.first.ends <= rule.now then
      rule.head, rule.first = search(rule, function(it) return it and it.ends > rule.now end)
    end
    rule.total = held(rule, rule.last)
  end

  local function lots(rule, size, most)
    return math.min(most, math.max(0, math.floor((rule.requests - rule.total) / size)))
  end

  local function charge(rule, tokens)
    local last = rule.last or { ends = 0, count = 0, sum = 0 }
    local ends = math.max(rule.now + rule.per, last.ends)
    local joins = ends == last.ends
    rule.last = {
      ends = ends,
      count = joins and last.count + tokens or tokens,
      sum = (last.sum + tokens) % SUM,
      span = ends - rule.now,
    }
    rule.rewrites = joins and #rule.pushed == 0
    rule.pushed[joins and 1 or #rule.pushed + 1] = rule.last
    if not rule.first or rule.first.ends == ends then rule.first = rule.last end
    rule.total = rule.total + tokens
  end

  -- The entry of that instant gives back. All from there on are rewritten, as their sums change.
  local function refund(rule, tokens, taken_at)
    local ends = taken_at + rule.per
    if not rule.first or ends > rule.last.ends then return 0 end
    local tail, it = rule.head, rule.first
    if it.ends < ends then
      tail, it = search(rule, function(it) return it and it.ends >= ends end)
    end
    if it.ends ~= ends then return 0 end
    local given = math.min(tokens, it.count)
    for _, text in ipairs(redis.call('LRANGE', rule.key, tail, -1)) do
      local it = parsed(text)
      if it then
        it.sum = (it.sum - given) % SUM
        if it.ends == ends then it.count = it.count - given end
        if it.count > 0 then rule.pushed[#rule.pushed + 1] = it end
      end
    end
    rule.tail = tail
    rule.last = rule.pushed[#rule.pushed] or (tail > rule.head and entry(rule, tail - 1)) or nil
    return given
  end

  local function save(rule, ttl)
    if rule.stale or rule.tail == rule.head then
      redis.call('DEL', rule.key)
    elseif rule.tail or rule.head > 0 then
      redis.call('LTRIM', rule.key, rule.head, (rule.tail or 0) - 1)
      rule.head = 0
    end
    for _, it in ipairs(rule.pushed) do
      local text = string.format('%.0f:%.0f:%.0f:%.0f', it.ends, it.count, it.sum, it.span)
      if rule.rewrites then
        redis.call('LSET', rule.key, -1, text)
      else
        redis.call('RPUSH', rule.key, text)
      end
    end
    redis.call('PEXPIRE', rule.key, ttl)
  end

  local function retry(rule)
    local needed = rule.total + rule.cost - rule.requests
    if needed <= 0 then return 0 end
    local it = rule.first
    if it.count < needed then
      local _, found = search(rule, function(it) return it and held(rule, it) >= needed end)
      it = found or rule.last
    end
    -- A stranger's entry may say that it ends after the last.
    return math.min(it.ends, rule.last.ends) - rule.now
  end

  local function reset(rule)
    return rule.last and rule.last.ends - rule.now or 0
  end

  return {
    read = read, lots = lots, charge = charge, refund = refund, save = save, retry = retry,
    reset = reset,
  }
end

