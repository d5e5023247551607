//! Digest trees: for each partition and replication factor 64 leaves, each the XOR over its
//! objects, kept as rows change. Comparing two replicas costs what differs, not what is there.

use super::Replica;
use super::keys::{expire_key, parse_object_key, prefix_end};
use super::rows::{HUSK, digest_of, goes_of};
use crate::cluster::View;
use crate::store::{Family, Store, StoreError, Visit};
use crate::wire::codec;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Leaves of one tree: as many as a `u64` has bits.
pub(super) const LEAVES: usize = 64;

/// One tree: partition and replication factor. Buckets with different factors have different
/// owners, who could not compare a common tree.
pub(super) type TreeKey = (u16, u8);

#[derive(Debug, Default)]
pub(super) struct Trees {
    trees: BTreeMap<TreeKey, Tree>,
    /// The bug put back: a part of the objects is not in the trees.
    pub(super) blind: bool,
    /// Objects at places of the expiry queue before this one are not in the trees.
    pub(super) line: Vec<u8>,
}

#[derive(Debug)]
struct Tree {
    leaves: [u64; LEAVES],
    /// XOR over a hash of each leaf that is not 0 with its place.
    root: u64,
}

impl Tree {
    const EMPTY: Tree = Tree { leaves: [0; LEAVES], root: 0 };

    fn change(&mut self, leaf: usize, by: u64) {
        let hash = |digest: u64| match digest {
            0 => 0,
            digest => xxh3_64_with_seed(&digest.to_le_bytes(), leaf as u64),
        };
        let (before, after) = (self.leaves[leaf], self.leaves[leaf] ^ by);
        self.leaves[leaf] = after;
        self.root ^= hash(before) ^ hash(after);
    }
}

/// The leaf of an object, by its row key.
pub(super) fn leaf_of(object_key: &[u8]) -> usize {
    (xxh3_64(object_key) % LEAVES as u64) as usize
}

impl Trees {
    /// An object's digest changed; 0 stands for absent.
    pub(super) fn replace(&mut self, object_key: &[u8], n: u8, before: u64, after: u64) {
        if self.blind && leaf_of(object_key).is_multiple_of(2) {
            return;
        }
        let partition = u16::from_be_bytes([object_key[0], object_key[1]]);
        let tree = self.trees.entry((partition, n)).or_insert(Tree::EMPTY);
        let entry = |digest: u64| match digest {
            0 => 0,
            digest => xxh3_64_with_seed(object_key, digest),
        };
        tree.change(leaf_of(object_key), entry(before) ^ entry(after));
    }

    /// The digest by which an object counts: 0 when it has expired, as far as the trees know.
    pub(super) fn counted(&self, object_key: &[u8], goes: u64, digest: u64) -> u64 {
        let out = goes == HUSK || (goes != 0 && expire_key(goes, object_key) < self.line);
        if out { 0 } else { digest }
    }

    /// The same of a header row's bytes.
    pub(super) fn counted_row(&self, object_key: &[u8], header: &[u8]) -> u64 {
        self.counted(object_key, goes_of(header), digest_of(Some(header)))
    }

    /// The leaves of one tree; an empty tree has zeros.
    pub(super) fn leaves(&self, key: TreeKey) -> [u64; LEAVES] {
        self.trees.get(&key).map_or([0; LEAVES], |tree| tree.leaves)
    }

    /// A digest of the whole tree, 0 when empty.
    pub(super) fn root(&self, key: TreeKey) -> u64 {
        self.trees.get(&key).map_or(0, |tree| tree.root)
    }

    /// Trees that hold anything, with their roots.
    pub(super) fn roots(&self) -> impl Iterator<Item = (TreeKey, u64)> {
        self.trees.iter().map(|(key, tree)| (*key, tree.root)).filter(|(_, root)| *root != 0)
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
        let line = self.trees.line.clone();
        let mut trees = Trees { blind: self.trees.blind, line, ..Trees::default() };
        let mut damaged = Vec::new();
        self.store.scan(Family::Headers, b"", None, &mut |key, bytes| {
            if let Some((object, _)) = parse_object_key(key) {
                let digest = trees.counted_row(key, bytes);
                trees.replace(key, view.n_of(&object.bucket), 0, digest);
                if !codec::is_intact(bytes) {
                    damaged.push(object);
                }
            }
            Visit::Next
        })?;
        self.trees = trees;
        damaged.iter().for_each(|object| self.note_damage(object));
        Ok(())
    }

    /// Computes one tree anew from the headers of its partition.
    ///
    /// # Errors
    /// The headers could not be read.
    pub(super) fn refresh_tree(
        &mut self,
        view: &View,
        partition: u16,
        n: u8,
    ) -> Result<(), StoreError> {
        self.trees.trees.remove(&(partition, n));
        let trees = &mut self.trees;
        let from = partition.to_be_bytes();
        let end = prefix_end(&from);
        self.store.scan(Family::Headers, &from, end.as_deref(), &mut |key, bytes| {
            if parse_object_key(key).is_some_and(|(object, _)| view.n_of(&object.bucket) == n) {
                let digest = trees.counted_row(key, bytes);
                trees.replace(key, n, 0, digest);
            }
            Visit::Next
        })
    }
}
