//! The shell: Envoy's callbacks in, the core's effects out. It decides nothing.
//!
//! One module, two roots: `velocitygate` limits HTTP requests, `velocitygate_redis` is the bridge
//! in front of Redis. A root learns which it is from the `root_id` of its plugin.

mod bridge;
mod clock;
mod host;
mod http;
mod limiter;
mod metrics;
mod root;

use proxy_wasm::traits::{Context, RootContext};
use proxy_wasm::types::LogLevel;

const LIMITER: &[u8] = b"velocitygate";
const BRIDGE: &[u8] = b"velocitygate_redis";

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(new_root);
}}

fn new_root(context_id: u32) -> Box<dyn RootContext> {
    match host::property(&["plugin_root_id"])
        .unwrap_or_default()
        .as_slice()
    {
        LIMITER => Box::new(root::LimiterRoot::new(context_id)),
        BRIDGE => Box::new(bridge::BridgeRoot),
        other => Box::new(UnknownRoot(String::from_utf8_lossy(other).into_owned())),
    }
}

/// The root of a plugin with a `root_id` that means nothing here. It refuses its configuration.
struct UnknownRoot(String);

impl Context for UnknownRoot {}

impl RootContext for UnknownRoot {
    fn on_configure(&mut self, _size: usize) -> bool {
        log::error!(
            "root_id: expected \"velocitygate\" (HTTP filter) or \"velocitygate_redis\" \
             (network filter in front of Redis), found {:?}",
            self.0
        );
        false
    }
}
