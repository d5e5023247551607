//! Digest trees: for each partition and replication factor 64 leaves, each the XOR over its
//! objects, kept as rows change. Comparing two replicas costs what differs, not what is there.

use super::Replica;
use super::keys::parse_object_key;
use super::rows::digest_of;
use crate::cluster::View;
use crate::store::{Family, Store, StoreError, Visit};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Leaves of one tree: as many as a `u64` has bits.
pub(super) const LEAVES: usize = 64;

/// One tree: partition and replication factor. Buckets with different factors have different
/// owners, who could not compare a common tree.
pub(super) type TreeKey = (u16, u8);

#[derive(Debug, Default)]
pub(super) struct Trees {
    trees: BTreeMap<TreeKey, [u64; LEAVES]>,
}

/// The leaf of an object, by its row key.
pub(super) fn leaf_of(object_key: &[u8]) -> usize {
    (xxh3_64(object_key) % LEAVES as u64) as usize
}

impl Trees {
    /// An object's digest changed; 0 stands for absent.
    pub(super) fn replace(&mut self, object_key: &[u8], n: u8, before: u64, after: u64) {
        let partition = u16::from_be_bytes([object_key[0], object_key[1]]);
        let tree = self.trees.entry((partition, n)).or_insert([0; LEAVES]);
        let entry = |digest: u64| match digest {
            0 => 0,
            digest => xxh3_64_with_seed(object_key, digest),
        };
        tree[leaf_of(object_key)] ^= entry(before) ^ entry(after);
    }

    /// The leaves of one tree; an empty tree has zeros.
    pub(super) fn leaves(&self, key: TreeKey) -> [u64; LEAVES] {
        self.trees.get(&key).copied().unwrap_or([0; LEAVES])
    }

    /// A digest of the whole tree, 0 when empty.
    pub(super) fn root(&self, key: TreeKey) -> u64 {
        let Some(leaves) = self.trees.get(&key) else { return 0 };
        if leaves.iter().all(|leaf| *leaf == 0) {
            return 0;
        }
        let bytes: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.to_le_bytes()).collect();
        xxh3_64(&bytes).max(1)
    }

    /// Replication factors in use.
    pub(super) fn keys(&self) -> impl Iterator<Item = TreeKey> {
        self.trees.keys().copied()
    }
}

impl<S: Store> Replica<S> {
    /// Computes the trees anew from the headers: at the start, and when a bucket's replication
    /// factor changed.
    ///
    /// # Errors
    /// The headers could not be read.
    pub fn rebuild_trees(&mut self, view: &View) -> Result<(), StoreError> {
        let mut trees = Trees::default();
        self.store.scan(Family::Headers, b"", None, &mut |key, bytes| {
            if let Some((object, _)) = parse_object_key(key) {
                trees.replace(key, view.n_of(&object.bucket), 0, digest_of(Some(bytes)));
            }
            Visit::Next
        })?;
        self.trees = trees;
        Ok(())
    }
}
