//! Chaos runs for VelocityGate.
//!
//! The nouns: a **scenario** says which **load** and which **faults** meet which **stack**; a run
//! turns it into a **record** of **observations**; a **judgement** is made from the record alone,
//! and a **report** shows it. Apart from that, [`check`] and [`explain`] read configurations of the
//! filter with the filter's own code, and [`mod@bench`] measures the filter beside its peers.

pub mod bench;
pub mod check;
pub mod cli;
pub mod demo;
pub mod exit;
pub mod explain;
pub mod fault;
pub mod judge;
pub mod load;
pub mod observe;
mod paths;
pub mod plugin;
pub mod record;
pub mod report;
pub mod run;
pub mod scenario;
pub mod source;
pub mod stack;
pub mod tools;
mod words;
