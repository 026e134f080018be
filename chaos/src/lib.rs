//! Chaos runs for VelocityGate.
//!
//! The nouns: a **scenario** says which **load** and which **faults** meet which **stack**; a run
//! turns it into a **record** of **observations**; a **judgement** is made from the record alone,
//! and a **report** shows it.

pub mod demo;
pub mod fault;
pub mod observe;
pub mod stack;
pub mod tools;
