-- The rules of a call, and what an operation may ask of each. The script is bounds.lua, the files
-- of the algorithms, this one, and the two operations.
--
-- An algorithm is a function, so that a call makes only what it uses, that returns
--   read(rule)              finds what is stored under rule.key as of rule.now; sets rule.changed
--                           when another limit or clock wrote it, so that a charge must save it even
--                           if it takes nothing
--   lots(rule, size, most)  how many lots of `size` tokens there is room for, at most `most`
--   charge(rule, tokens)    takes tokens that there is room for
--   refund(rule, tokens, at)  takes back tokens that were charged then, as far as they still
--                           count, where nothing is changed; returns how many
--   save(rule, ttl)         writes what is to be kept, to expire after `ttl` milliseconds
--   retry(rule)             retry_us of the reply
--   reset(rule)             reset_us of the reply

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local ALGORITHMS = {
  tb = token_bucket,
  fw = fixed_window,
  sw = sliding_window,
  sl = sliding_log,
}

-- Made when a rule first asks for it.
local function algorithm(tag)
  local it = ALGORITHMS[tag]
  if type(it) == 'function' then
    it = it()
    ALGORITHMS[tag] = it
  end
  return it
end

-- Reads the rule that begins at ARGV[at].
local function read_rule(key, at)
  local rule = {
    key = key,
    now = now,
    algorithm = algorithm(ARGV[at]),
    requests = tonumber(ARGV[at + 1]),
    per = tonumber(ARGV[at + 2]),
    burst = tonumber(ARGV[at + 3]),
    cost = tonumber(ARGV[at + 4]),
  }
  rule.algorithm.read(rule)
  return rule
end

-- One millisecond more than the time left, since it is rounded down, and one for the clock that
-- Redis expires keys by, which may stand a little behind TIME.
local function save(rule, reset)
  rule.algorithm.save(rule, string.format('%.0f', math.floor(reset / 1000) + 2))
end

