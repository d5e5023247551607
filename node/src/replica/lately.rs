//! What was applied lately for other nodes' coordinators, as far as it takes to owe it: a
//! coordinator that never got the answer cannot spread what was written, and asks for that.

use super::Replica;
use super::hints::{Part, parts_of};
use super::keys::object_key;
use crate::cluster::View;
use crate::crdt::{NodeId, ObjectId};
use crate::store::{Batch, Store, StoreError};
use crate::time::Time;
use crate::wire::peer::{Applied, OpId, PeerBody};
use std::collections::{BTreeMap, VecDeque};

/// Operations remembered, as many as are known not to be applied twice.
const REMEMBERED: usize = 16_384;
/// Bytes that they may take, about.
const BYTES_MAX: usize = 8 << 20;
/// What a larger operation wrote is left to a comparison with the other owners.
const LARGE: usize = 64 << 10;

/// The operations applied last, by coordinator and number.
#[derive(Debug, Default)]
pub(super) struct Lately {
    written: BTreeMap<(NodeId, OpId), Written>,
    order: VecDeque<(NodeId, OpId)>,
    bytes: usize,
}

/// What one of them wrote.
#[derive(Debug)]
struct Written {
    /// Keys of the object and of the note about it, with the rows of each and the dots that the
    /// operation says of them; none once all of it is owed.
    objects: Vec<(Vec<u8>, Vec<Part>)>,
    bytes: usize,
}

impl Lately {
    /// Remembers what an operation on `object` wrote.
    pub(super) fn note(&mut self, from: NodeId, op: OpId, object: &ObjectId, applied: &Applied) {
        let note = applied.note.as_deref().map(|(id, note)| (id, note));
        let written = [(object, &applied.delta)].into_iter().chain(note);
        let objects = written.map(|(id, delta)| (object_key(id), parts_of(delta)));
        let objects: Vec<(Vec<u8>, Vec<Part>)> = objects.collect();
        let of_part = |(marked, said): &Part| {
            marked.bytes() + said.interval_count() * size_of::<(u64, u64)>() + size_of::<Part>()
        };
        let of_object = |(key, parts): &(Vec<u8>, Vec<Part>)| {
            key.len() + parts.iter().map(of_part).sum::<usize>()
        };
        let bytes = size_of::<Written>() + objects.iter().map(of_object).sum::<usize>();
        if bytes > LARGE {
            return;
        }
        self.bytes += bytes;
        self.written.insert((from, op), Written { objects, bytes });
        self.order.push_back((from, op));
        while self.order.len() > REMEMBERED || self.bytes > BYTES_MAX {
            let oldest = self.order.pop_front().and_then(|oldest| self.written.remove(&oldest));
            self.bytes -= oldest.map_or(0, |oldest| oldest.bytes);
        }
    }
}

impl<S: Store> Replica<S> {
    /// A coordinator does not know that all owners have these writes: what was written here of
    /// them is owed to those that it names. What has not come yet will not be applied.
    pub(super) fn on_unheard(
        &mut self,
        view: &View,
        now: Time,
        from: NodeId,
        ops: Vec<(OpId, Vec<NodeId>)>,
    ) {
        let mut owed = Vec::new();
        for (op, owners) in ops {
            if self.rights.is_waiting((from, op)) {
                continue; // To be asked again when it is applied or refused.
            }
            let came = from == view.me || !self.once.is_first(from, op);
            match self.owe_written((from, op), &owners) {
                Ok(true) => {}
                // Refused, or forgotten.
                Ok(false) if came => {
                    owners.iter().for_each(|owner| self.exchange_soon(*owner, now));
                }
                Ok(false) => {}
                Err(error) => {
                    self.refusal(error);
                    continue;
                }
            }
            owed.push(op);
        }
        self.send_durable(from, PeerBody::Owed(owed));
    }

    /// Marks what an operation wrote as owed to `owners`; whether it is remembered.
    fn owe_written(&mut self, key: (NodeId, OpId), owners: &[NodeId]) -> Result<bool, StoreError> {
        let Some(written) = self.lately.written.get_mut(&key) else { return Ok(false) };
        let objects = std::mem::take(&mut written.objects);
        let marked = self.mark_all(&objects, owners);
        if let (Err(_), Some(written)) = (&marked, self.lately.written.get_mut(&key)) {
            written.objects = objects;
        }
        marked.map(|()| true)
    }

    fn mark_all(
        &mut self,
        objects: &[(Vec<u8>, Vec<Part>)],
        owners: &[NodeId],
    ) -> Result<(), StoreError> {
        let (mut batch, mut marks) = (Batch::default(), Vec::new());
        for (object, parts) in objects {
            marks.extend(self.mark_parts(object, parts, owners, &mut batch)?);
        }
        self.commit(batch)?;
        self.count_marks(&marks);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crdt::{Object, TypeTag};

    #[test]
    fn memory_of_what_was_applied_is_bounded_by_number_and_bytes() {
        let delta = Object::empty(TypeTag::Counter);
        let (state, note, again) = (delta.clone(), None, None);
        let applied = Applied { delta, state, note, again, settled: false };
        for key_bytes in [8, 4_000, LARGE] {
            let key = vec![0; key_bytes];
            let object = ObjectId { bucket: "b".into(), tag: TypeTag::Counter, key };
            let mut lately = Lately::default();
            for op in 0..2 * REMEMBERED as u64 {
                lately.note(NodeId(1), OpId(op), &object, &applied);
            }
            let held = lately.written.values().map(|written| written.bytes).sum::<usize>();
            assert_eq!((held, lately.order.len()), (lately.bytes, lately.written.len()));
            assert!(lately.bytes <= BYTES_MAX && lately.order.len() <= REMEMBERED);
            assert_eq!(lately.written.is_empty(), key_bytes == LARGE);
        }
    }
}
