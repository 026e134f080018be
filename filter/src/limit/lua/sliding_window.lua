-- Sliding window, `sw`: `requests` in a window that ends now, estimated from two counters.
--
-- Windows are the multiples of `per` on Redis's clock. The window that ends now is taken to hold all
-- of the current one, and of the previous one the share that it overlaps, rounded up. ARCHITECTURE
-- derives how far that can be from the truth.
--
-- Stored value       "<index>:<current>:<previous>:<per>": tokens charged from index x per on, and
--                    in the window before
-- Expiry             when the next window ends, or this one when nothing was charged in it
-- Commands           GET, and at most one SET
-- Complexity         O(1) in time and memory
--
-- When `per` was shortened, the window that has begun goes on to its end, and what was charged in
-- it then counts as charged at its last instant; when it was lengthened, all counts as charged now. A window that is yet to begin means that Redis's clock was set
-- back; both counters go on as charged now.
--
-- Doubles are exact: floors of quotients as in fixed_window, and `scaled` splits its product.
local function sliding_window()
  local COUNT_MAX = 2 * TOKENS_MAX
  local DIGITS = { 268435456, 2097152, 16384, 128, 1 }

  -- n x part / whole, rounded down, and the rest. Seven bits of n (below 2^35) at a time: with
  -- part and whole of at most 366 days, below 2^45 us, no sum reaches 2^53.
  local function scaled(n, part, whole)
    local quotient, rest = 0, 0
    for _, digit in ipairs(DIGITS) do
      local sum = rest * 128 + math.floor(n / digit) % 128 * part
      quotient, rest = quotient * 128 + math.floor(sum / whole), sum % whole
    end
    return quotient, rest
  end

  -- Both counters as charged at `instant`, in windows of `per`.
  local function gather(rule, instant, per)
    rule.index, rule.window = math.floor(instant / per), per
    rule.current = math.min(rule.current + rule.previous, COUNT_MAX)
    rule.previous, rule.changed = 0, rule.current > 0
  end

  -- On to the window of now.
  local function roll(rule)
    local at = math.floor(rule.now / rule.window)
    if rule.index < at then
      rule.previous = rule.index == at - 1 and rule.current or 0
      rule.index, rule.current = at, 0
    end
  end

  local function stored(rule)
    local text = redis.call('GET', rule.key) or ''
    local index, current, previous, per = string.match(text, '^(%d+):(%d+):(%d+):(%d+)$')
    index, current, previous, per =
      tonumber(index), tonumber(current), tonumber(previous), tonumber(per)
    if not index or math.max(current, previous) > COUNT_MAX or per < 1 or per > PER_MAX then
      return math.floor(rule.now / rule.per), 0, 0, rule.per
    end
    return index, current, previous, per
  end

  local function read(rule)
    rule.index, rule.current, rule.previous, rule.window = stored(rule)
    rule.changed = false
    local at = math.floor(rule.now / rule.window)
    if rule.index > at then gather(rule, rule.now, rule.window) end
    if rule.window <= rule.per then
      roll(rule)
      if rule.window < rule.per then
        local last = rule.current > 0 and rule.now or rule.index * rule.window - 1
        gather(rule, last, rule.per)
        roll(rule)
      end
    elseif rule.index < at then
      rule.previous = 0
      gather(rule, (rule.index + 1) * rule.window - 1, rule.per)
      roll(rule)
    end
    rule.ends = (rule.index + 1) * rule.window
    local share, rest = scaled(rule.previous, rule.ends - rule.now, rule.window)
    rule.fading = share + (rest > 0 and 1 or 0)
  end

  local function lots(rule, size, most)
    local room = rule.requests - rule.current - rule.fading
    return math.min(most, math.max(0, math.floor(room / size)))
  end

  local function charge(rule, tokens)
    rule.current = rule.current + tokens
  end

  local function refund(rule, tokens, taken_at)
    local ago = rule.index - math.floor(taken_at / rule.per)
    local counter = ago == 0 and 'current' or 'previous'
    if rule.window ~= rule.per or ago < 0 or ago > 1 then return 0 end
    local given = math.min(tokens, rule[counter])
    rule[counter] = rule[counter] - given
    return given
  end

  local function save(rule, ttl)
    local text = string.format('%.0f:%.0f:%.0f:%.0f',
      rule.index, rule.current, rule.previous, rule.window)
    redis.call('SET', rule.key, text, 'PX', ttl)
  end

  -- When the counter of the current window begins to fade: its end, but for a longer window that
  -- a former limit began.
  local function fades(rule)
    return (math.floor((rule.ends - 1) / rule.per) + 1) * rule.per
  end

  local function retry(rule)
    local room = rule.requests - rule.cost
    if rule.current + rule.fading <= room then return 0 end
    if rule.current <= room then
      return rule.ends - rule.now - scaled(room - rule.current, rule.window, rule.previous)
    end
    return fades(rule) + rule.per - rule.now - scaled(room, rule.per, rule.current)
  end

  local function reset(rule)
    if rule.current > 0 then return fades(rule) + rule.per - rule.now end
    return rule.previous > 0 and rule.ends - rule.now or 0
  end

  return {
    read = read, lots = lots, charge = charge, refund = refund, save = save, retry = retry,
    reset = reset,
  }
end

