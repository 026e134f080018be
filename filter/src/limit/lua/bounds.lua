-- What a configuration allows, so that what lies beyond it in a stored value is a stranger's.

local PER_MAX = 31622400000000 -- 366 days
local FILL_MAX = 3155760000000000 -- 100 years of 365.25 days
local TOKENS_MAX = 1000000000

