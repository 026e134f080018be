//! Which rules a request meets, and what it is counted by.

mod address;
mod attribute;
mod key;
mod matcher;
mod pairs;
mod pattern;
mod request;
mod value_test;

pub(crate) use address::network;
pub use attribute::Attribute;
pub use key::{
    Key, KeyRecipe, MetadataPaths, Part, REDIS_KEY_BYTES_MAX, Readings, VALUE_BYTES_MAX, redis_key,
};
pub use matcher::{HostPattern, Matcher, Mismatch, NamedTest, PropertyTest};
pub use pattern::{PATTERN_COMPILED_BYTES_MAX, PATTERN_VALUE_BYTES_MAX, Pattern};
pub use request::{Host, Request, is_grpc};
pub use value_test::{Fit, TextTest, ValueTest};
