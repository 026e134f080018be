//! Chaos runs for VelocityGate.
//!
//! The nouns: a **scenario** says which **load** and which **faults** meet which **stack**; a run
//! turns it into a **record** of **observations**; a **judgement** is made from the record alone,
//! and a **report** shows it.

pub mod judge;
pub mod load;
pub mod record;
pub mod report;
pub mod scenario;
