-- Give back what COUNT requests were charged and never used.
--
-- KEYS[i]            what is counted under rule i
-- ARGV[1]            refund
-- ARGV[2]            COUNT, how many equal requests were charged and not used
-- ARGV[3]            TAKEN_AT, the now_us of their charge
-- ARGV[4]            HELD, microseconds for which the limit allows for tokens that are held unused
--                    (a lease; 0 for none)
-- ARGV[5i]           rule i: its algorithm, and in ARGV[5i+1] to [5i+4] its numbers as for a charge
-- Reply              { tokens_1, ... }: how many tokens were given back, at most COUNT x cost
-- Commands           TIME, and those of the algorithms; complexity, expiry: theirs
--
-- A window gives back where the charge was counted, a bucket what it cannot have regained since, but
-- for HELD: so none has ever more room than if the charge had not been made. A charge that lies
-- ahead, because Redis's clock was set back, gives nothing back.

local count, taken_at, held = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local rules = {}
for i, key in ipairs(KEYS) do
  rules[i] = read_rule(key, 5 * i)
end

local reply = {}
for i, rule in ipairs(rules) do
  local algorithm = rule.algorithm
  local tokens = count * rule.cost
  reply[i] = taken_at <= now and algorithm.refund(rule, tokens, taken_at, held) or 0
  if reply[i] > 0 or rule.changed then save(rule, algorithm.reset(rule)) end
end
return reply
