//! Operations are applied once: a network that delivers an `Apply` again must not make it count
//! twice.

use crate::crdt::NodeId;
use crate::wire::peer::OpId;
use std::collections::{BTreeSet, VecDeque};

/// Operations remembered: far more than can be on their way.
const REMEMBERED: usize = 16_384;

/// The operations applied last, by coordinator and number.
#[derive(Debug, Default)]
pub(super) struct Once {
    seen: BTreeSet<(NodeId, OpId)>,
    order: VecDeque<(NodeId, OpId)>,
}

impl Once {
    /// Whether this is the first time; remembers it.
    pub(super) fn is_first(&mut self, from: NodeId, op: OpId) -> bool {
        if !self.seen.insert((from, op)) {
            return false;
        }
        self.order.push_back((from, op));
        if self.order.len() > REMEMBERED {
            let oldest = self.order.pop_front();
            oldest.iter().for_each(|oldest| {
                self.seen.remove(oldest);
            });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_operation_is_not_the_first_and_memory_is_bounded() {
        let mut once = Once::default();
        for op in 0..2 * REMEMBERED as u64 {
            assert!(once.is_first(NodeId(1), OpId(op)) && !once.is_first(NodeId(1), OpId(op)));
            assert!(once.is_first(NodeId(2), OpId(op)));
        }
        assert_eq!((once.seen.len(), once.order.len()), (REMEMBERED, REMEMBERED));
    }
}
