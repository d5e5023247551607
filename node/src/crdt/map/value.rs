//! What a client sees of a map.

use super::path::{self, Kind};
use crate::crdt::row::{Leaf, Row};
use std::collections::BTreeMap;

/// Fields by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fields(BTreeMap<String, Field>);

/// One field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Field {
    /// The value written last.
    Register(Vec<u8>),
    /// Every value that no other has observed, in the order of their dots.
    MvRegister(Vec<Vec<u8>>),
    /// The sum, clamped to the range of `i64`.
    Counter(i64),
    /// Whether it is on.
    Flag(bool),
    /// Members in order.
    Set(Vec<Vec<u8>>),
    /// Fields.
    Map(Fields),
}

impl Field {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Field::Register(_) => Kind::Register,
            Field::MvRegister(_) => Kind::MvRegister,
            Field::Counter(_) => Kind::Counter,
            Field::Flag(_) => Kind::Flag,
            Field::Set(_) => Kind::Set,
            Field::Map(_) => Kind::Map,
        }
    }

    fn of_row(kind: Kind, row: &Row) -> Option<Field> {
        let values = || {
            row.live.iter().filter_map(|(dot, leaf)| match leaf {
                Leaf::Register { value, at } => Some((*at, *dot, value)),
                _ => None,
            })
        };
        Some(match kind {
            Kind::Register => Field::Register(values().max().map(|(.., value)| value.clone())?),
            Kind::MvRegister => {
                Field::MvRegister(values().map(|(.., value)| value.clone()).collect())
            }
            Kind::Counter => {
                let total = row.whole_total().clamp(i64::MIN.into(), i64::MAX.into());
                Field::Counter(total as i64)
            }
            Kind::Flag => Field::Flag(row.live.values().any(|leaf| *leaf == Leaf::Flag(true))),
            Kind::Set | Kind::Map => return None,
        })
    }
}

impl Fields {
    /// Fields in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Field)> {
        self.0.iter()
    }

    /// A field.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.0.get(name)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields that these rows, in the order of their keys, come to. Of a field of several
    /// kinds, which concurrent writes can leave, the first kind is shown.
    pub(super) fn of_rows<'a>(rows: impl Iterator<Item = (&'a Vec<u8>, &'a Row)>) -> Fields {
        let mut fields = Fields::default();
        for (key, row) in rows {
            fields.insert(key, row);
        }
        fields
    }

    fn insert(&mut self, key: &[u8], row: &Row) {
        // A row whose key is none of a map's was made by no operation; it is not shown.
        let Some((name, kind, rest)) = path::split(key) else { return };
        match kind {
            Kind::Set => {
                let field = self.0.entry(name).or_insert(Field::Set(Vec::new()));
                if let Field::Set(members) = field {
                    members.push(rest.to_vec());
                }
            }
            Kind::Map => {
                let field = self.0.entry(name).or_insert(Field::Map(Fields::default()));
                if let Field::Map(fields) = field {
                    fields.insert(rest, row);
                }
            }
            kind => {
                if let Some(field) = Field::of_row(kind, row) {
                    self.0.entry(name).or_insert(field);
                }
            }
        }
    }
}
