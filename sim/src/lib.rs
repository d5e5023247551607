//! Runs real Starling nodes, real gossip and a store that forgets what was not synced, on
//! simulated networks, disks and clocks. One seed gives one run, always.

pub mod checks;
pub mod clocks;
pub mod faults;
pub mod gossip;
pub mod history;
pub mod leaves;
mod names;
pub mod network;
pub mod node;
pub mod out;
pub mod pbs;
pub mod plan;
pub mod random;
pub mod reach;
pub mod report;
pub mod scenario;
pub mod shrink;
pub mod sweep;
pub mod trace;
pub mod verdict;
pub mod workload;
pub mod world;
