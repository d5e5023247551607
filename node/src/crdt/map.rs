//! Map: named fields of several kinds, maps among them, changed together in one delta.
//!
//! Every leaf is a row of its own, so a field of a map of a million costs what it costs alone. The
//! key of a row is the path to it (see [`path`]). A field is there while anything in it is, and
//! removing it is an observed removal of every row below it: what a concurrent write puts there
//! survives, and of a counter precisely what the removal did not observe (Riak's maps bring the
//! rest back as well).

pub mod path;
mod value;

use self::path::{Kind, Path};
use super::row::{Amount, Leaf, Row};
use super::rows::rows_type;
use super::{CausalContext, DeltaType, Dot, Mint, Needs, Observed, OpError, Rows};
use bincode::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};
pub use value::{Field, Fields};

/// Maps within maps.
pub const DEPTH_MAX: usize = 8;

rows_type! {
    /// A map, or a part of one.
    Map
}

/// What clients ask of a map.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum MapOp {
    /// Change and remove fields; no field is in both.
    Update {
        /// What to change.
        change: Change,
        /// What the changes replace and the removals cover.
        observed: Observed,
    },
    /// Remove the whole map, as far as observed.
    Delete {
        /// What the removal covers.
        observed: Observed,
    },
}

/// Changes of the fields of one map.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Change {
    /// Fields to change.
    pub update: BTreeMap<String, FieldOp>,
    /// Fields to remove, whatever their kind.
    pub remove: BTreeSet<String>,
}

/// A change of one field.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum FieldOp {
    /// Write a value; of concurrent ones the last is read.
    Register(Vec<u8>),
    /// Write a value; concurrent ones are read side by side.
    MvRegister(Vec<u8>),
    /// Add an amount, negative to subtract.
    Counter(i64),
    /// Switch on or off; on wins.
    Flag(bool),
    /// Add and remove members; add wins.
    Set {
        /// Members to add.
        add: BTreeSet<Vec<u8>>,
        /// Members to remove.
        remove: BTreeSet<Vec<u8>>,
    },
    /// Change the fields of a map.
    Map(Change),
}

impl FieldOp {
    fn kind(&self) -> Kind {
        match self {
            FieldOp::Register(_) => Kind::Register,
            FieldOp::MvRegister(_) => Kind::MvRegister,
            FieldOp::Counter(_) => Kind::Counter,
            FieldOp::Flag(_) => Kind::Flag,
            FieldOp::Set { .. } => Kind::Set,
            FieldOp::Map(_) => Kind::Map,
        }
    }
}

impl Change {
    /// Maps within maps that it goes down, counting the outermost.
    pub fn depth(&self) -> usize {
        let below = self.update.values().map(|op| match op {
            FieldOp::Map(change) => change.depth(),
            _ => 0,
        });
        1 + below.max().unwrap_or(0)
    }

    /// Leaves that it names.
    pub fn leaf_count(&self) -> usize {
        let updates = self.update.values().map(|op| match op {
            FieldOp::Map(change) => change.leaf_count(),
            FieldOp::Set { add, remove } => add.len() + remove.len(),
            _ => 1,
        });
        updates.sum::<usize>() + self.remove.len()
    }

    fn needs(&self, at: &Path, needs: &mut Needs) {
        for name in &self.remove {
            needs.prefixes.push(at.field(name));
        }
        for (name, op) in &self.update {
            needs.firsts.push(at.field(name));
            match op {
                FieldOp::Map(change) => change.needs(&at.map(name), needs),
                FieldOp::Set { add, remove } => {
                    let members = add.iter().chain(remove);
                    needs.keys.extend(members.map(|member| at.member(name, member)));
                }
                op => needs.keys.push(at.leaf(name, op.kind())),
            }
        }
    }
}

impl MapOp {
    pub(super) fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        match self {
            MapOp::Update { change, .. } => change.needs(&Path::default(), &mut needs),
            MapOp::Delete { .. } => needs.totals = true,
        }
        needs
    }
}

/// One call under way.
struct Call<'a, 'm> {
    map: &'a Map,
    observed: &'a Observed,
    mint: &'m mut Mint,
    delta: Rows,
}

impl Call<'_, '_> {
    fn apply(&mut self, at: &Path, change: &Change) -> Result<(), OpError> {
        for name in &change.remove {
            // A counter that this replica has not heard of is known by its key all the same.
            self.map.remove_under(&at.field(name), self.observed, &mut self.delta);
            if matches!(self.observed, Observed::Context(_)) {
                let counter = at.leaf(name, Kind::Counter);
                self.map.remove(&counter, self.observed, &mut self.delta);
            }
        }
        for (name, op) in &change.update {
            self.map.check_kind(at, name, op.kind())?;
            match op {
                FieldOp::Map(change) => self.apply(&at.map(name), change)?,
                FieldOp::Set { add, remove } => self.change_set(at, name, add, remove),
                FieldOp::Counter(amount) => self.count(&at.leaf(name, Kind::Counter), *amount)?,
                FieldOp::Flag(on) => self.put(&at.leaf(name, Kind::Flag), Leaf::Flag(*on)),
                FieldOp::Register(value) | FieldOp::MvRegister(value) => {
                    let (value, written) = (value.clone(), self.mint.at());
                    self.put(&at.leaf(name, op.kind()), Leaf::Register { value, at: written });
                }
            }
        }
        Ok(())
    }

    /// Writes a leaf in place of what was observed of it.
    fn put(&mut self, key: &[u8], leaf: Leaf) {
        let live = self.map.row(key).live.into_keys();
        let replaced: Vec<Dot> = match self.observed {
            Observed::Here => live.collect(),
            Observed::Context(seen) => live.filter(|dot| seen.has(*dot)).collect(),
            Observed::Nothing => Vec::new(),
        };
        self.delta.put(key, self.mint.dot(), leaf, replaced);
    }

    fn change_set(
        &mut self,
        at: &Path,
        name: &str,
        add: &BTreeSet<Vec<u8>>,
        remove: &BTreeSet<Vec<u8>>,
    ) {
        for member in remove {
            self.map.remove(&at.member(name, member), self.observed, &mut self.delta);
        }
        for member in add {
            let key = at.member(name, member);
            let replaced = self.map.row(&key).live.into_keys();
            self.delta.put(&key, self.mint.dot(), Leaf::Here, replaced);
        }
    }

    fn count(&mut self, key: &[u8], amount: i64) -> Result<(), OpError> {
        let row = self.map.row(key);
        let (dot, leaf, replaced) = row.extend(self.mint, |old| counted(&row, old, amount))?;
        self.delta.put(key, dot, leaf, replaced);
        Ok(())
    }
}

/// The running total after `amount`, if the counter stays within what clients can read.
fn counted(row: &Row, old: Option<Amount>, amount: i64) -> Result<Amount, OpError> {
    let total = row.whole_total().saturating_add(amount.into());
    // Concurrent writes may have left the range together; the way back is open.
    let leaves = match amount >= 0 {
        true => amount > 0 && total > i64::MAX.into(),
        false => total < i64::MIN.into(),
    };
    if leaves {
        return Err(OpError::CounterOverflow);
    }
    let (up, down) = match old {
        Some(Amount::Whole { up, down }) => (up, down),
        _ => (0, 0),
    };
    let by = u128::from(amount.unsigned_abs());
    Ok(match amount >= 0 {
        true => Amount::Whole { up: up.saturating_add(by), down },
        false => Amount::Whole { up, down: down.saturating_add(by) },
    })
}

impl Map {
    /// That the field is absent or of that kind. Of several kinds, which concurrent writes can
    /// leave, the first in the order of their bytes counts.
    fn check_kind(&self, at: &Path, name: &str, wanted: Kind) -> Result<(), OpError> {
        let prefix = at.field(name);
        let from = std::ops::Bound::Included(prefix.clone());
        let below = self.rows.range((from, std::ops::Bound::Unbounded));
        let mut below = below.take_while(|(key, _)| key.starts_with(&prefix));
        let first = below.find(|(key, row)| self.visible(key, row).is_present());
        let is = first.and_then(|(key, _)| Kind::of_byte(*key.get(prefix.len())?));
        match is {
            Some(is) if is != wanted => Err(OpError::WrongKind {
                field: at.text(name),
                is: is.name().into(),
                wanted: wanted.name().into(),
            }),
            _ => Ok(()),
        }
    }

    /// The fields in the rows here.
    pub fn fields(&self) -> Fields {
        Fields::of_rows(self.present())
    }
}

impl DeltaType for Map {
    type Op = MapOp;
    type Value = Fields;

    fn delta(&self, op: &MapOp, mint: &mut Mint) -> Result<Map, OpError> {
        let (change, observed) = match op {
            MapOp::Update { change, observed } => (change, observed),
            MapOp::Delete { observed } => return Ok(Map(self.clear(observed))),
        };
        if change.depth() > DEPTH_MAX {
            return Err(OpError::TooDeep { limit: DEPTH_MAX as u32 });
        }
        let mut call = Call { map: self, observed, mint, delta: Rows::delta() };
        call.apply(&Path::default(), change)?;
        let delta = call.delta;
        self.check_deferred(&delta)?;
        Ok(Map(delta))
    }

    fn join(&mut self, other: &Map) {
        self.0.join(other);
    }

    fn context(&self) -> &CausalContext {
        &self.0.context
    }

    fn value(&self) -> Option<Fields> {
        let fields = self.fields();
        (!fields.is_empty()).then_some(fields)
    }
}
