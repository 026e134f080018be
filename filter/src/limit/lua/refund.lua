-- Give back what COUNT requests were charged and never used.
--
-- KEYS[i]            what is counted under rule i
-- ARGV[1]            refund
-- ARGV[2]            COUNT, how many equal requests were charged and not used
-- ARGV[3]            TAKEN_AT, the now_us of their charge
-- ARGV[5i-1]         rule i: its algorithm, and in ARGV[5i] to [5i+3] its numbers as for a charge
-- Reply              { tokens_1, ... }: how many tokens were given back, at most COUNT x cost
-- Commands           TIME, and those of the algorithms; complexity, expiry: theirs
--
-- A window gives back where the charge was counted, a bucket what it cannot have regained since: so
-- none has ever more room than if the charge had not been made. What another limit or a clock that
-- was set back made of the key since, and a charge that lies ahead, give nothing back; and what gives
-- nothing back leaves the key as it was.

local count, taken_at = tonumber(ARGV[2]), tonumber(ARGV[3])
local rules = {}
for i, key in ipairs(KEYS) do
  rules[i] = read_rule(key, 5 * i - 1)
end

local reply = {}
for i, rule in ipairs(rules) do
  local algorithm = rule.algorithm
  local tokens = count * rule.cost
  local counts = taken_at <= now and not rule.changed
  reply[i] = counts and algorithm.refund(rule, tokens, taken_at) or 0
  if reply[i] > 0 then save(rule, algorithm.reset(rule)) end
end
return reply
