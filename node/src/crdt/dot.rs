//! Identities of writes: who wrote (actor) and which of its writes it was (dot).

use bincode::{Decode, Encode};
use std::fmt;

/// A node, by the hash of its name: the same after a restart and after its disk was replaced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The id of the node called `name` (xxh3-64 of its UTF-8 bytes).
    pub fn of_name(name: &str) -> Self {
        NodeId(xxhash_rust::xxh3::xxh3_64(name.as_bytes()))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{:016x}", self.0)
    }
}

/// One life of a node's memory of what it wrote. A node that may have forgotten a dot it showed
/// to others (as with every start: the disk may be new or an old copy) takes a new epoch, hence a
/// new actor, and so can never give one dot to two writes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct Actor {
    /// The node that writes.
    pub node: NodeId,
    /// Drawn at random when the epoch begins; compared for equality only.
    pub epoch: u64,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:x}", self.node, self.epoch)
    }
}

/// The `counter`-th write of `actor` to one object, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct Dot {
    /// Who wrote.
    pub actor: Actor,
    /// Which write, from 1.
    pub counter: u64,
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.actor, self.counter)
    }
}

/// Hybrid logical clock reading (Kulkarni et al., "Logical Physical Clocks", 2014, section 3).
/// It breaks ties for last-writer-wins only; causality never depends on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct Hlc {
    /// Wall clock in milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// Orders readings within one millisecond.
    pub logical: u32,
}

/// Hands out the dots and the timestamp of one client operation on one object.
#[derive(Clone, Debug)]
pub struct Mint {
    actor: Actor,
    next: u64,
    at: Hlc,
    floor: u64,
}

impl Mint {
    /// A mint whose first dot is `actor:next`. `next` must exceed every counter that `actor` ever
    /// gave to this object.
    pub fn new(actor: Actor, next: u64, at: Hlc) -> Self {
        assert!(next > 0, "dots count from 1");
        Mint { actor, next, at, floor: 0 }
    }

    /// The same with the actor's floor: runs of totals whose last dot is at or below it are not
    /// extended, since this node may have forgotten what came after.
    pub fn with_floor(self, floor: u64) -> Self {
        Mint { floor, ..self }
    }

    /// See [`Mint::with_floor`].
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// A dot no other write has.
    pub fn dot(&mut self) -> Dot {
        let dot = Dot { actor: self.actor, counter: self.next };
        self.next += 1;
        dot
    }

    /// The last dot given out since it was `before`.
    pub fn since(&self, before: &Mint) -> Option<Dot> {
        (self.next > before.next).then(|| Dot { actor: self.actor, counter: self.next - 1 })
    }

    /// The actor whose dots this mint gives out.
    pub fn actor(&self) -> Actor {
        self.actor
    }

    /// The time of the operation.
    pub fn at(&self) -> Hlc {
        self.at
    }
}
