//! Client operations on objects of any type, and the rows they look at.

use super::{BoundedOp, CounterOp, FlagOp, HllOp, KvOp, MapOp, Observed, SetOp, TypeTag, ZsetOp};
use bincode::{Decode, Encode};

/// A client operation on an object of some type.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub enum ObjectOp {
    /// See [`KvOp`].
    Kv(KvOp),
    /// See [`CounterOp`].
    Counter(CounterOp),
    /// See [`SetOp`].
    Set(SetOp),
    /// See [`FlagOp`].
    Flag(FlagOp),
    /// A [`SetOp`] on a remove-wins set.
    RwSet(SetOp),
    /// A [`FlagOp`] on a disable-wins flag.
    DwFlag(FlagOp),
    /// See [`MapOp`].
    Map(MapOp),
    /// See [`HllOp`].
    Hll(HllOp),
    /// See [`ZsetOp`].
    Zset(ZsetOp),
    /// See [`BoundedOp`].
    Bounded(BoundedOp),
    /// Change nothing but the expiry of an object of that type that is there.
    Touch(TypeTag),
}

/// The rows of a collection that an operation looks at; it is given no others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Needs {
    /// These rows, present or not.
    pub keys: Vec<Vec<u8>>,
    /// Every row that begins so.
    pub prefixes: Vec<Vec<u8>>,
    /// The first visible row that begins so.
    pub firsts: Vec<Vec<u8>>,
    /// Every row with totals.
    pub totals: bool,
}

impl ObjectOp {
    /// The type it belongs to.
    pub fn tag(&self) -> TypeTag {
        match self {
            ObjectOp::Kv(_) => TypeTag::Kv,
            ObjectOp::Counter(_) => TypeTag::Counter,
            ObjectOp::Set(_) => TypeTag::Set,
            ObjectOp::Flag(_) => TypeTag::Flag,
            ObjectOp::RwSet(_) => TypeTag::RwSet,
            ObjectOp::DwFlag(_) => TypeTag::DwFlag,
            ObjectOp::Map(_) => TypeTag::Map,
            ObjectOp::Hll(_) => TypeTag::Hll,
            ObjectOp::Zset(_) => TypeTag::Zset,
            ObjectOp::Bounded(_) => TypeTag::Bounded,
            ObjectOp::Touch(tag) => *tag,
        }
    }

    /// A removal of the whole object.
    pub fn delete(tag: TypeTag, observed: Observed) -> ObjectOp {
        match tag {
            TypeTag::Kv => ObjectOp::Kv(KvOp::Delete { observed }),
            TypeTag::Counter => ObjectOp::Counter(CounterOp::Delete { observed }),
            TypeTag::Set => ObjectOp::Set(SetOp::Delete { observed }),
            TypeTag::Flag => ObjectOp::Flag(FlagOp::Delete { observed }),
            TypeTag::RwSet => ObjectOp::RwSet(SetOp::Delete { observed }),
            TypeTag::DwFlag => ObjectOp::DwFlag(FlagOp::Delete { observed }),
            TypeTag::Map => ObjectOp::Map(MapOp::Delete { observed }),
            TypeTag::Hll => ObjectOp::Hll(HllOp::Delete { observed }),
            TypeTag::Zset => ObjectOp::Zset(ZsetOp::Delete { observed }),
            TypeTag::Bounded => ObjectOp::Bounded(BoundedOp::Delete { observed }),
        }
    }

    /// What the operation covers, where it says so.
    pub fn observed(&self) -> Option<&Observed> {
        match self {
            ObjectOp::Kv(KvOp::Put { observed, .. } | KvOp::Delete { observed })
            | ObjectOp::Counter(
                CounterOp::Reset { observed, .. } | CounterOp::Delete { observed },
            )
            | ObjectOp::Set(SetOp::Update { observed, .. } | SetOp::Delete { observed })
            | ObjectOp::RwSet(SetOp::Update { observed, .. } | SetOp::Delete { observed })
            | ObjectOp::Flag(FlagOp::Set { observed, .. } | FlagOp::Delete { observed })
            | ObjectOp::DwFlag(FlagOp::Set { observed, .. } | FlagOp::Delete { observed })
            | ObjectOp::Map(MapOp::Update { observed, .. } | MapOp::Delete { observed })
            | ObjectOp::Zset(ZsetOp::Update { observed, .. } | ZsetOp::Delete { observed })
            | ObjectOp::Hll(HllOp::Delete { observed })
            | ObjectOp::Bounded(BoundedOp::Delete { observed }) => Some(observed),
            ObjectOp::Counter(CounterOp::Add { .. })
            | ObjectOp::Hll(HllOp::Add { .. })
            | ObjectOp::Bounded(
                BoundedOp::Add { .. } | BoundedOp::Take { .. } | BoundedOp::Give { .. },
            )
            | ObjectOp::Touch(_) => None,
        }
    }

    /// Whether the context that came with it is fit for use, see
    /// [`super::SeenContext::is_canonical`].
    pub fn is_canonical(&self) -> bool {
        match self.observed() {
            Some(Observed::Context(seen)) => seen.is_canonical(),
            Some(Observed::Here | Observed::Nothing) | None => true,
        }
    }

    /// Where this is a removal of the whole object, what it covers.
    pub fn delete_observed(&mut self) -> Option<&mut Observed> {
        match self {
            ObjectOp::Kv(KvOp::Delete { observed })
            | ObjectOp::Counter(CounterOp::Delete { observed })
            | ObjectOp::Set(SetOp::Delete { observed })
            | ObjectOp::RwSet(SetOp::Delete { observed })
            | ObjectOp::Flag(FlagOp::Delete { observed })
            | ObjectOp::DwFlag(FlagOp::Delete { observed })
            | ObjectOp::Map(MapOp::Delete { observed })
            | ObjectOp::Hll(HllOp::Delete { observed })
            | ObjectOp::Zset(ZsetOp::Delete { observed })
            | ObjectOp::Bounded(BoundedOp::Delete { observed }) => Some(observed),
            _ => None,
        }
    }

    /// The rows it looks at.
    pub fn needs(&self) -> Needs {
        match self {
            ObjectOp::Set(op) | ObjectOp::RwSet(op) => {
                Needs { keys: op.members().cloned().collect(), ..Needs::default() }
            }
            ObjectOp::Map(op) => op.needs(),
            ObjectOp::Hll(op) => op.needs(),
            ObjectOp::Zset(op) => op.needs(),
            _ => Needs::default(),
        }
    }
}
