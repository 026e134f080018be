-- Admit as many of COUNT equal requests as every rule has room for.
--
-- KEYS[i]            what is counted under rule i
-- ARGV[1]            charge
-- ARGV[2]            COUNT, how many equal requests wait, 1 to 10^6
-- ARGV[5i-2]         rule i: its algorithm, by the tag that the algorithm's file names
-- ARGV[5i-1]         rule i: requests, 1 to 10^9
-- ARGV[5i]           rule i: per, microseconds
-- ARGV[5i+1]         rule i: burst, the most that one request may cost, 1 to 10^9
-- ARGV[5i+2]         rule i: cost of one request in tokens, 0 (a look without a charge) to burst
-- Reply              { admitted, now_us, remaining_1, retry_us_1, reset_us_1, remaining_2, ... }
--   admitted         how many of COUNT pass, first come first served; each is charged to every
--                    rule, the others to none
--   now_us           Redis's clock at this charge
--   remaining_i      whole tokens left under rule i
--   retry_us_i       microseconds until rule i has room for one more request; 0: it has
--   reset_us_i       microseconds until nothing that was charged counts any more
-- Commands           TIME, and those of the algorithms; complexity, expiry: theirs
--
-- It must be one script because the answer of one rule decides the charge of the others. Lua
-- numbers are doubles; each algorithm says why they are exact.

if ARGV[1] == 'charge' then
  local admitted = tonumber(ARGV[2])
  local rules = {}
  for i, key in ipairs(KEYS) do
    local rule = read_rule(key, 5 * i - 2)
    if rule.cost > 0 then
      local most = math.min(admitted, math.floor(rule.burst / rule.cost))
      admitted = rule.algorithm.lots(rule, rule.cost, most)
    end
    rules[i] = rule
  end

  local reply = { admitted, now }
  for _, rule in ipairs(rules) do
    local algorithm, tokens = rule.algorithm, admitted * rule.cost
    if tokens > 0 then algorithm.charge(rule, tokens) end
    local reset = algorithm.reset(rule)
    if tokens > 0 or rule.changed then save(rule, reset) end
    reply[#reply + 1] = algorithm.lots(rule, 1, rule.burst)
    -- A look always finds room, also where more is counted than the limit admits.
    reply[#reply + 1] = rule.cost > 0 and algorithm.retry(rule) or 0
    reply[#reply + 1] = reset
  end
  return reply
end

