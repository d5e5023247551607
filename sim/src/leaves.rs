//! Leaves of maps, for checks: what an operation puts into which rows, and what it removes there.
//! An element is the key of a row and, of a register, the value in it: each is put once.

use starling_node::crdt::map::path::{Kind, Path};
use starling_node::crdt::map::{Change, FieldOp};
use starling_node::crdt::{Dot, Leaf, Map, MapOp, Object, ObjectOp, Observed};

/// One value of a register, or one member of a set.
pub type Element = Vec<u8>;

fn element(key: &[u8], value: &[u8]) -> Element {
    let length = (key.len() as u64).to_be_bytes();
    [&length[..], key, value].concat()
}

/// The key of the row that the element is in.
fn key_of(element: &[u8]) -> &[u8] {
    let (length, rest) = element.split_at(8);
    let length = u64::from_be_bytes(length.try_into().expect("eight bytes")) as usize;
    &rest[..length]
}

/// The element for people: its value, or its member's name at the end of its key.
pub fn text(element: &[u8]) -> String {
    String::from_utf8_lossy(&element[8..]).replace(char::is_control, "/")
}

/// What a change of a map does to leaves.
#[derive(Default)]
pub struct Effect {
    /// Elements that are put.
    pub puts: Vec<Element>,
    /// Leaves that get a dot of their own.
    pub leaves: u64,
    /// Prefixes of the keys of removed rows.
    prefixes: Vec<Vec<u8>>,
    /// Keys of removed members.
    members: Vec<Vec<u8>>,
    /// Keys of registers that are written: what was observed there goes.
    written: Vec<Vec<u8>>,
}

/// What the operation does to the leaves of a map; `None` for one on another type.
pub fn effect(op: &ObjectOp) -> Option<Effect> {
    let mut effect = Effect::default();
    match op {
        ObjectOp::Map(MapOp::Update { change, .. }) => effect.add(&Path::default(), change),
        ObjectOp::Map(MapOp::Delete { .. }) => effect.prefixes.push(Vec::new()),
        _ => return None,
    }
    Some(effect)
}

impl Effect {
    fn add(&mut self, at: &Path, change: &Change) {
        self.prefixes.extend(change.remove.iter().map(|name| at.field(name)));
        for (name, op) in &change.update {
            match op {
                FieldOp::Map(inner) => {
                    self.add(&at.map(name), inner);
                    continue;
                }
                FieldOp::Set { add, remove } => {
                    self.leaves += add.len() as u64;
                    let put = add.iter().map(|member| element(&at.member(name, member), b""));
                    self.puts.extend(put);
                    self.members.extend(remove.iter().map(|member| at.member(name, member)));
                    continue;
                }
                FieldOp::Register(value) => self.write(at.leaf(name, Kind::Register), value),
                FieldOp::MvRegister(value) => self.write(at.leaf(name, Kind::MvRegister), value),
                FieldOp::Counter(_) | FieldOp::Flag(_) => {}
            }
            self.leaves += 1;
        }
    }

    fn write(&mut self, key: Vec<u8>, value: &[u8]) {
        self.puts.push(element(&key, value));
        self.written.push(key);
    }

    /// Whether it removes what it observed of the element: its field, or the member itself.
    pub fn removes(&self, element: &[u8]) -> bool {
        self.removes_row(key_of(element))
    }

    /// Whether it removes or replaces what it observed of the element.
    pub fn may_replace(&self, element: &[u8]) -> bool {
        let key = key_of(element);
        self.removes_row(key) || self.written.iter().any(|written| written == key)
    }

    /// Whether it removes anything by name.
    pub fn is_removal(&self) -> bool {
        !self.prefixes.is_empty() || !self.members.is_empty()
    }

    fn removes_row(&self, key: &[u8]) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix))
            || self.members.iter().any(|member| member == key)
    }
}

/// What an operation on a map observed.
pub fn observed(op: &ObjectOp) -> Option<&Observed> {
    match op {
        ObjectOp::Map(MapOp::Update { observed, .. } | MapOp::Delete { observed }) => {
            Some(observed)
        }
        _ => None,
    }
}

/// Elements of a map that are there.
pub fn elements(map: &Map) -> Vec<Element> {
    let rows = map.present();
    rows.flat_map(|(key, row)| {
        row.live.values().filter_map(|leaf| match leaf {
            Leaf::Here => Some(element(key, b"")),
            Leaf::Register { value, .. } => Some(element(key, value)),
            _ => None,
        })
    })
    .collect()
}

/// Live dots of a map in rows that the operation removes.
pub fn live_in_removed(effect: &Effect, map: &Map) -> Vec<Dot> {
    let rows = map.present().filter(|(key, _)| effect.removes_row(key));
    rows.flat_map(|(_, row)| row.live.keys().copied()).collect()
}

/// Members of the sets that fields of the outermost map are.
pub fn members(object: &Object) -> Option<Vec<Vec<u8>>> {
    use starling_node::crdt::map::Field;
    let Object::Map(map) = object else { return None };
    let fields = map.fields();
    let sets = fields.iter().filter_map(|(_, field)| match field {
        Field::Set(members) => Some(members.iter().cloned()),
        _ => None,
    });
    Some(sets.flatten().collect())
}
