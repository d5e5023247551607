//! Every store keeps the same promises: one suite of plain functions, run against each backend,
//! a comparison with a model, and what a crash may and may not take from each.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // Kills processes, damages files.

#[cfg(feature = "server")]
mod cached;
mod memory;
mod model;
#[cfg(feature = "server")]
mod rocks;
#[cfg(feature = "server")]
mod rocks_damage;
#[cfg(feature = "server")]
mod rocks_full;
#[cfg(feature = "server")]
mod rocks_kill;
mod suite;

use starling_node::store::{Batch, Family, Lsn, Store, StoreError, Visit};

/// A backend under test and the two things a shell does to it.
pub trait Subject {
    /// An empty store.
    fn fresh() -> Self;
    /// The store; it may be another one after [`Subject::restart`].
    fn store(&mut self) -> &mut dyn Store;
    /// Makes everything written durable and says up to where that is.
    fn sync(&mut self) -> Lsn;
    /// Stops and opens again. What was not synced may be lost.
    fn restart(&mut self);
}

/// A row as a scan shows it.
pub type Row = (Vec<u8>, Vec<u8>);

/// A change of a row: `Some` puts, `None` deletes.
pub type Edit<'a> = (Family, &'a [u8], Option<&'a [u8]>);

/// A batch of changes.
pub fn batch(changes: &[Edit]) -> Batch {
    let mut batch = Batch::default();
    for (family, key, value) in changes {
        match value {
            Some(value) => batch.put(*family, key.to_vec(), value.to_vec()),
            None => batch.delete(*family, key.to_vec()),
        }
    }
    batch
}

/// All rows that a scan visits.
fn rows(
    store: &dyn Store,
    family: Family,
    from: &[u8],
    until: Option<&[u8]>,
) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    store.scan(family, from, until, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Visit::Next
    })?;
    Ok(rows)
}
