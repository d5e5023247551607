//! An object of any type, and its identity: (bucket, type, key).

use super::{
    Bounded, CausalContext, Counter, DeltaType, Dot, DwFlag, Expiry, Flag, Hlc, Hll, Kv, Map, Mint,
    ObjectOp, OpError, Rows, RwSet, SeenContext, Set, Zset,
};
use bincode::{Decode, Encode};
use std::fmt;

/// The data types, by the byte that stands for them in keys and on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[repr(u8)]
pub enum TypeTag {
    /// Multi-value register.
    Kv = 1,
    /// Counter with reset.
    Counter = 2,
    /// Add-wins set.
    Set = 3,
    /// Enable-wins flag.
    Flag = 4,
    /// Remove-wins set.
    RwSet = 5,
    /// Disable-wins flag.
    DwFlag = 6,
    /// Map of typed fields.
    Map = 7,
    /// Estimate of how many distinct elements were added.
    Hll = 8,
    /// Sorted set.
    Zset = 9,
    /// Counter that is never below 0.
    Bounded = 10,
}

impl TypeTag {
    /// All types there are.
    pub const ALL: [TypeTag; 10] = [
        TypeTag::Kv,
        TypeTag::Counter,
        TypeTag::Set,
        TypeTag::Flag,
        TypeTag::RwSet,
        TypeTag::DwFlag,
        TypeTag::Map,
        TypeTag::Hll,
        TypeTag::Zset,
        TypeTag::Bounded,
    ];

    /// Its name in the singular, as in `/v1/explain/{type}`.
    pub fn name(self) -> &'static str {
        match self {
            TypeTag::Kv => "kv",
            TypeTag::Counter => "counter",
            TypeTag::Set => "set",
            TypeTag::Flag => "flag",
            TypeTag::RwSet => "rwset",
            TypeTag::DwFlag => "dwflag",
            TypeTag::Map => "map",
            TypeTag::Hll => "hll",
            TypeTag::Zset => "zset",
            TypeTag::Bounded => "boundedcounter",
        }
    }

    /// Whether its state is [`Rows`].
    pub fn has_rows(self) -> bool {
        use TypeTag::{Hll, Map, RwSet, Set, Zset};
        matches!(self, Set | RwSet | Map | Hll | Zset)
    }

    /// The type of that name, singular or plural.
    pub fn of_name(name: &str) -> Option<TypeTag> {
        TypeTag::ALL.into_iter().find(|tag| {
            name == tag.name() || name.strip_suffix('s').is_some_and(|name| name == tag.name())
        })
    }

    /// The type of that byte.
    pub fn of_byte(byte: u8) -> Option<TypeTag> {
        TypeTag::ALL.into_iter().find(|tag| *tag as u8 == byte)
    }
}

impl fmt::Display for TypeTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which object: two clients can never make one key two things.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct ObjectId {
    /// 1 to 64 bytes of `[A-Za-z0-9._-]`.
    pub bucket: String,
    /// Part of the identity.
    pub tag: TypeTag,
    /// 1 to 1,024 bytes of any kind.
    pub key: Vec<u8>,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.tag, self.bucket, String::from_utf8_lossy(&self.key))
    }
}

/// State or delta of an object.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Object {
    /// See [`Kv`].
    Kv(Kv),
    /// See [`Counter`].
    Counter(Counter),
    /// See [`Set`].
    Set(Set),
    /// See [`Flag`].
    Flag(Flag),
    /// See [`RwSet`].
    RwSet(RwSet),
    /// See [`DwFlag`].
    DwFlag(DwFlag),
    /// See [`Map`].
    Map(Map),
    /// See [`Hll`].
    Hll(Hll),
    /// See [`Zset`].
    Zset(Zset),
    /// See [`Bounded`].
    Bounded(Bounded),
}

macro_rules! each {
    ($object:expr, $inner:ident => $result:expr) => {
        match $object {
            Object::Kv($inner) => $result,
            Object::Counter($inner) => $result,
            Object::Set($inner) => $result,
            Object::Flag($inner) => $result,
            Object::RwSet($inner) => $result,
            Object::DwFlag($inner) => $result,
            Object::Map($inner) => $result,
            Object::Hll($inner) => $result,
            Object::Zset($inner) => $result,
            Object::Bounded($inner) => $result,
        }
    };
}

impl Object {
    /// The absent object of that type.
    pub fn empty(tag: TypeTag) -> Object {
        match tag {
            TypeTag::Kv => Object::Kv(Kv::default()),
            TypeTag::Counter => Object::Counter(Counter::default()),
            TypeTag::Set => Object::Set(Set::default()),
            TypeTag::Flag => Object::Flag(Flag::default()),
            TypeTag::RwSet => Object::RwSet(RwSet::default()),
            TypeTag::DwFlag => Object::DwFlag(DwFlag::default()),
            TypeTag::Map => Object::Map(Map::default()),
            TypeTag::Hll => Object::Hll(Hll::default()),
            TypeTag::Zset => Object::Zset(Zset::default()),
            TypeTag::Bounded => Object::Bounded(Bounded::default()),
        }
    }

    /// Its type.
    pub fn tag(&self) -> TypeTag {
        match self {
            Object::Kv(_) => TypeTag::Kv,
            Object::Counter(_) => TypeTag::Counter,
            Object::Set(_) => TypeTag::Set,
            Object::Flag(_) => TypeTag::Flag,
            Object::RwSet(_) => TypeTag::RwSet,
            Object::DwFlag(_) => TypeTag::DwFlag,
            Object::Map(_) => TypeTag::Map,
            Object::Hll(_) => TypeTag::Hll,
            Object::Zset(_) => TypeTag::Zset,
            Object::Bounded(_) => TypeTag::Bounded,
        }
    }

    /// The rows of a collection.
    pub fn rows(&self) -> Option<&Rows> {
        match self {
            Object::Set(rows) => Some(rows),
            Object::RwSet(rows) => Some(rows),
            Object::Map(rows) => Some(rows),
            Object::Hll(rows) => Some(rows),
            Object::Zset(rows) => Some(rows),
            _ => None,
        }
    }

    /// See [`Object::rows`].
    pub fn rows_mut(&mut self) -> Option<&mut Rows> {
        match self {
            Object::Set(rows) => Some(rows),
            Object::RwSet(rows) => Some(rows),
            Object::Map(rows) => Some(rows),
            Object::Hll(rows) => Some(rows),
            Object::Zset(rows) => Some(rows),
            _ => None,
        }
    }

    /// A collection of this type with these rows.
    ///
    /// # Panics
    /// The type has no rows.
    pub fn with_rows(tag: TypeTag, rows: Rows) -> Object {
        let mut object = Object::empty(tag);
        *object.rows_mut().expect("a type with rows") = rows;
        object
    }

    /// The dots it speaks for.
    pub fn context(&self) -> &CausalContext {
        each!(self, inner => inner.context())
    }

    /// Whether a client would find it. Of a collection without its rows this is always no.
    pub fn is_present(&self) -> bool {
        each!(self, inner => inner.value().is_some())
    }

    /// What a client that reads this has seen.
    pub fn seen(&self) -> SeenContext {
        let tallies = match self {
            Object::Counter(counter) => counter.tallies().clone(),
            _ => self.rows().map(Rows::tallies).unwrap_or_default(),
        };
        let reals = self.rows().map(Rows::reals).unwrap_or_default();
        SeenContext { dots: self.context().clone(), tallies, reals }
    }

    /// See [`DeltaType::delta`].
    ///
    /// # Errors
    /// As there, and [`OpError::WrongType`].
    pub fn delta(&self, op: &ObjectOp, mint: &mut Mint) -> Result<Object, OpError> {
        match (self, op) {
            (Object::Kv(object), ObjectOp::Kv(op)) => object.delta(op, mint).map(Object::Kv),
            (Object::Counter(object), ObjectOp::Counter(op)) => {
                object.delta(op, mint).map(Object::Counter)
            }
            (Object::Set(object), ObjectOp::Set(op)) => object.delta(op, mint).map(Object::Set),
            (Object::Flag(object), ObjectOp::Flag(op)) => object.delta(op, mint).map(Object::Flag),
            (Object::RwSet(object), ObjectOp::RwSet(op)) => {
                object.delta(op, mint).map(Object::RwSet)
            }
            (Object::DwFlag(object), ObjectOp::DwFlag(op)) => {
                object.delta(op, mint).map(Object::DwFlag)
            }
            (Object::Map(object), ObjectOp::Map(op)) => object.delta(op, mint).map(Object::Map),
            (Object::Hll(object), ObjectOp::Hll(op)) => object.delta(op, mint).map(Object::Hll),
            (Object::Zset(object), ObjectOp::Zset(op)) => object.delta(op, mint).map(Object::Zset),
            (Object::Bounded(object), ObjectOp::Bounded(op)) => {
                object.delta(op, mint).map(Object::Bounded)
            }
            // The last total of an actor stays the one with its last dot.
            (Object::Counter(counter), ObjectOp::Touch(TypeTag::Counter)) => {
                Ok(Object::Counter(counter.write(0, mint.floor(), mint)))
            }
            (object, ObjectOp::Touch(tag)) if object.tag() == *tag => Ok(object.values_alone()),
            _ => Err(OpError::WrongType),
        }
    }

    /// See [`DeltaType::join`].
    ///
    /// # Errors
    /// [`OpError::WrongType`] when the types differ; nothing is changed.
    pub fn join(&mut self, other: &Object) -> Result<(), OpError> {
        match (self, other) {
            (Object::Kv(a), Object::Kv(b)) => a.join(b),
            (Object::Counter(a), Object::Counter(b)) => a.join(b),
            (Object::Set(a), Object::Set(b)) => a.join(b),
            (Object::Flag(a), Object::Flag(b)) => a.join(b),
            (Object::RwSet(a), Object::RwSet(b)) => a.join(b),
            (Object::DwFlag(a), Object::DwFlag(b)) => a.join(b),
            (Object::Map(a), Object::Map(b)) => a.join(b),
            (Object::Hll(a), Object::Hll(b)) => a.join(b),
            (Object::Zset(a), Object::Zset(b)) => a.join(b),
            (Object::Bounded(a), Object::Bounded(b)) => a.join(b),
            _ => return Err(OpError::WrongType),
        }
        Ok(())
    }

    /// Whether every context in it has the one form that equal states share, and every live dot
    /// is inside its context. A decoded object that fails this is corrupt and must not be joined.
    pub fn is_canonical(&self) -> bool {
        let inner = match self {
            Object::Counter(counter) => counter.cleared.is_canonical() && counter.is_sound(),
            Object::Bounded(counter) => counter.is_sound(),
            _ => self.rows().is_none_or(Rows::is_sound),
        };
        let dots = || self.live_dots().into_iter().chain(self.expiry_dots());
        let live = || dots().all(|dot| self.context().contains(dot));
        let settings = self.expiry().is_none_or(Expiry::is_sound);
        inner && settings && self.context().is_canonical() && live()
    }

    /// The clock readings in it.
    pub fn times(&self) -> Vec<Hlc> {
        match self {
            Object::Kv(kv) => kv.siblings.values().map(|sibling| sibling.written_at).collect(),
            _ => self.rows().map(Rows::times).unwrap_or_default(),
        }
    }

    /// The dots of live content, for `explain` and checks; of a counter the last dot of each run.
    pub fn live_dots(&self) -> Vec<Dot> {
        match self {
            Object::Kv(kv) => kv.siblings.keys().copied().collect(),
            Object::Flag(flag) => flag.votes.keys().copied().collect(),
            Object::DwFlag(flag) => flag.0.votes.keys().copied().collect(),
            Object::Bounded(counter) => counter.last_dots(),
            Object::Counter(counter) => counter
                .runs
                .iter()
                .map(|(run, tally)| Dot { actor: run.actor, counter: tally.last })
                .collect(),
            _ => self.rows().map(Rows::live_dots).unwrap_or_default(),
        }
    }
}
