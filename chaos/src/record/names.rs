//! What observers' numbers are called in a record. One place, so that who writes and who judges
//! cannot drift apart.

/// Envoy: requests by the filter's decision, all rules together; followed by the decision.
pub const DECISION: &str = "decision.";
/// Envoy: the filter's calls to Redis by result; followed by the result.
pub const REDIS_CALLS: &str = "redis_calls.";
/// Envoy: the breaker's probes by result; followed by the result.
pub const PROBES: &str = "probes.";
/// Envoy: replies of Redis that it does not know the script.
pub const NOSCRIPT: &str = "noscript";
/// Envoy: requests paused in the filter now.
pub const WAITING: &str = "waiting";
/// Envoy: answers given by the listener.
pub const COMPLETED: &str = "completed";
/// Envoy: times the filter's VM was loaded again.
pub const VM_RELOADS: &str = "vm_reloads";

/// Access log: how long the filter paused a request, one of those that it paused longest, microseconds.
pub const WAIT_US: &str = "wait_us";
/// Access log: when that request came, seconds.
pub const WAIT_AT_S: &str = "wait_at_s";
/// Access log: requests that the filter paused.
pub const PAUSED: &str = "paused";
/// Access log: requests it tells of.
pub const LOGGED: &str = "logged";

/// Redis: bytes it has allocated.
pub const USED_MEMORY: &str = "used_memory";
/// Redis: keys it holds.
pub const KEYS: &str = "keys";
/// Redis: EVAL commands it ran.
pub const EVAL_CALLS: &str = "eval_calls";
/// Redis: EVALSHA commands it ran.
pub const EVALSHA_CALLS: &str = "evalsha_calls";
/// Redis: its process id; a change means its counters began again.
pub const INSTANCE: &str = "instance";

/// Upstream: requests that reached it.
pub const HITS: &str = "hits";

/// Processes: CPU seconds used by Envoy.
pub const ENVOY_CPU_S: &str = "envoy_cpu_s";
/// Processes: threads of Envoy.
pub const ENVOY_THREADS: &str = "envoy_threads";
/// Processes: resident bytes of Envoy.
pub const ENVOY_RSS: &str = "envoy_rss";
/// Processes: CPU seconds used by Redis.
pub const REDIS_CPU_S: &str = "redis_cpu_s";
/// Processes: milliseconds that the threads of Envoy, Redis and Toxiproxy ran since the reading before,
/// all together.
pub const STACK_RAN_MS: &str = "stack_ran_ms";
/// Processes: the longest that a thread of Envoy or of the suite was ready and got no processor, or
/// that the machine's host kept a processor from it, since the reading before, milliseconds.
pub const KEPT_WAITING_MS: &str = "kept_waiting_ms";
