//! Which rules a request meets, and what it is counted by.

/// Placeholder until the module is built.
#[derive(Clone, Debug, PartialEq)]
pub struct Matcher;

/// Placeholder until the module is built.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRecipe;
