//! Where rows live: ordered bytes in five families, written in atomic batches.
//!
//! A batch is readable when [`Store::write`] returns and durable when the shell has synced its
//! [`Lsn`] and told the core so. Nothing here waits for a disk on behalf of a caller.

#[cfg(feature = "server")]
pub mod cached;
pub mod memory;
#[cfg(feature = "server")]
pub mod rocks;

use thiserror::Error;

/// Groups of rows that are kept, tuned and counted apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// One row per object: context, digest, and the whole of small types.
    Headers,
    /// One row per set member.
    Rows,
    /// What is owed to other nodes.
    Hints,
    /// The layout, bucket properties, the node's own state.
    Meta,
    /// Members of sorted sets in the order of their scores: keys without values, derived from
    /// the rows.
    Scores,
}

impl Family {
    /// All families, in a fixed order.
    pub const ALL: [Family; 5] =
        [Family::Headers, Family::Rows, Family::Hints, Family::Meta, Family::Scores];

    /// Its name on disk and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Family::Headers => "headers",
            Family::Rows => "rows",
            Family::Hints => "hints",
            Family::Meta => "meta",
            Family::Scores => "scores",
        }
    }
}

/// Place of a batch in the order of writes. The first batch after opening has 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(pub u64);

/// Changes that become visible together and survive together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// In order; a later change of the same key wins.
    pub changes: Vec<Change>,
}

/// One change of one row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which family.
    pub family: Family,
    /// Which row.
    pub key: Vec<u8>,
    /// Its new bytes, `None` to delete it.
    pub value: Option<Vec<u8>>,
}

impl Batch {
    /// Sets a row.
    pub fn put(&mut self, family: Family, key: Vec<u8>, value: Vec<u8>) {
        self.changes.push(Change { family, key, value: Some(value) });
    }

    /// Deletes a row; deleting one that is not there is fine.
    pub fn delete(&mut self, family: Family, key: Vec<u8>) {
        self.changes.push(Change { family, key, value: None });
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Whether a scan goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Visit {
    /// With the next row.
    Next,
    /// No further.
    Stop,
}

/// What went wrong below. Reads and writes that fail have changed nothing.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum StoreError {
    /// No space is left; the store goes on serving reads.
    #[error("the disk is full")]
    Full,
    /// Bytes on disk are not what was written.
    #[error("corrupt data: {0}")]
    Corrupt(String),
    /// The store cannot be used any more.
    #[error("storage failed: {0}")]
    Failed(String),
}

/// Ordered rows with atomic batches. One writer.
pub trait Store {
    /// The row at `key`.
    ///
    /// # Errors
    /// The row could not be read.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Visits rows with `from <= key` and, if given, `key < until`, in the order of keys, as of
    /// the moment of the call.
    ///
    /// # Errors
    /// The rows could not be read; some may have been visited.
    fn scan(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreError>;

    /// As [`Store::scan`], from the last row to the first.
    ///
    /// # Errors
    /// As there.
    fn scan_back(
        &self,
        family: Family,
        from: &[u8],
        until: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Visit,
    ) -> Result<(), StoreError>;

    /// Makes `batch` readable, all or nothing, and says which sync makes it durable.
    ///
    /// # Errors
    /// Nothing was changed.
    fn write(&mut self, batch: Batch) -> Result<Lsn, StoreError>;
}
