//! Host calls whose failures are answered here, once: the SDK's own helpers unwrap them.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use proxy_wasm::hostcalls;
use proxy_wasm::types::MapType;

use crate::breaker::SharedCell;
use crate::matching::{Attribute, Host};

/// A property of the host, when it has it.
pub(super) fn property(path: &[&str]) -> Option<Vec<u8>> {
    hostcalls::get_property(path.to_vec()).ok().flatten()
}

/// One header of the current request, which has not been passed on yet.
pub(super) fn request_header(name: &str) -> Option<Vec<u8>> {
    hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, name)
        .ok()
        .flatten()
}

/// All headers of the current request or response, in one call: several single reads cost more.
pub(super) fn headers(of: MapType) -> Vec<(String, Vec<u8>)> {
    hostcalls::get_map_bytes(of).unwrap_or_default()
}

/// The request whose context is in effect.
pub(super) struct CurrentRequest;

impl Host for CurrentRequest {
    fn headers(&self) -> Vec<(String, Vec<u8>)> {
        headers(MapType::HttpRequestHeaders)
    }

    fn property(&self, path: &[String]) -> Option<Vec<u8>> {
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        property(&parts).map(|bytes| Attribute::text(path, bytes))
    }
}

/// 64 random bits from the host.
pub(super) fn random() -> u64 {
    // std seeds this from the host's `random_get`; it is the only random source without a crate.
    RandomState::new().build_hasher().finish()
}

/// One entry of the data that all VMs with the same `vm_id` share.
#[derive(Debug)]
pub(super) struct SharedData {
    pub(super) key: String,
}

impl SharedCell for SharedData {
    fn load(&mut self) -> Option<(Vec<u8>, u32)> {
        match hostcalls::get_shared_data(&self.key) {
            Ok((Some(bytes), cas)) => Some((bytes, cas.unwrap_or_default())),
            _ => None,
        }
    }

    fn store(&mut self, bytes: &[u8], cas: u32) -> bool {
        hostcalls::set_shared_data(&self.key, Some(bytes), Some(cas)).is_ok()
    }
}
