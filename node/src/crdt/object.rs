//! An object of any type, and its identity: (bucket, type, key).

use super::{
    CausalContext, Counter, CounterOp, DeltaType, Dot, Flag, FlagOp, Kv, KvOp, Mint, Observed,
    OpError, SeenContext, Set, SetOp,
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
}

impl TypeTag {
    /// All types there are.
    pub const ALL: [TypeTag; 4] = [TypeTag::Kv, TypeTag::Counter, TypeTag::Set, TypeTag::Flag];

    /// Its name in the singular, as in `/v1/explain/{type}`.
    pub fn name(self) -> &'static str {
        match self {
            TypeTag::Kv => "kv",
            TypeTag::Counter => "counter",
            TypeTag::Set => "set",
            TypeTag::Flag => "flag",
        }
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
}

/// A client operation on an object of some type.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ObjectOp {
    /// See [`KvOp`].
    Kv(KvOp),
    /// See [`CounterOp`].
    Counter(CounterOp),
    /// See [`SetOp`].
    Set(SetOp),
    /// See [`FlagOp`].
    Flag(FlagOp),
}

macro_rules! each {
    ($object:expr, $inner:ident => $result:expr) => {
        match $object {
            Object::Kv($inner) => $result,
            Object::Counter($inner) => $result,
            Object::Set($inner) => $result,
            Object::Flag($inner) => $result,
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
        }
    }

    /// Its type.
    pub fn tag(&self) -> TypeTag {
        match self {
            Object::Kv(_) => TypeTag::Kv,
            Object::Counter(_) => TypeTag::Counter,
            Object::Set(_) => TypeTag::Set,
            Object::Flag(_) => TypeTag::Flag,
        }
    }

    /// The dots it speaks for.
    pub fn context(&self) -> &CausalContext {
        each!(self, inner => inner.context())
    }

    /// Whether a client would find it. Of a set without its rows this is always no.
    pub fn is_present(&self) -> bool {
        each!(self, inner => inner.value().is_some())
    }

    /// What a client that reads this has seen.
    pub fn seen(&self) -> SeenContext {
        let tallies = match self {
            Object::Counter(counter) => counter.tallies().clone(),
            _ => Default::default(),
        };
        SeenContext { dots: self.context().clone(), tallies }
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
            _ => return Err(OpError::WrongType),
        }
        Ok(())
    }

    /// Whether every context in it has the one form that equal states share, and every live dot
    /// is inside its context. A decoded object that fails this is corrupt and must not be joined.
    pub fn is_canonical(&self) -> bool {
        let inner = match self {
            Object::Set(set) => set.is_sound(),
            Object::Counter(counter) => counter.cleared.is_canonical() && counter.is_sound(),
            Object::Kv(_) | Object::Flag(_) => true,
        };
        let live = || self.live_dots().into_iter().all(|dot| self.context().contains(dot));
        inner && self.context().is_canonical() && live()
    }

    /// The live dots, for `explain` and checks; of a counter the last dot of each run.
    pub fn live_dots(&self) -> Vec<Dot> {
        match self {
            Object::Kv(kv) => kv.siblings.keys().copied().collect(),
            Object::Flag(flag) => flag.votes.keys().copied().collect(),
            Object::Set(set) => set.rows.values().flatten().copied().collect(),
            Object::Counter(counter) => counter
                .runs
                .iter()
                .map(|(run, tally)| Dot { actor: run.actor, counter: tally.last })
                .collect(),
        }
    }
}

impl ObjectOp {
    /// The type it belongs to.
    pub fn tag(&self) -> TypeTag {
        match self {
            ObjectOp::Kv(_) => TypeTag::Kv,
            ObjectOp::Counter(_) => TypeTag::Counter,
            ObjectOp::Set(_) => TypeTag::Set,
            ObjectOp::Flag(_) => TypeTag::Flag,
        }
    }

    /// A removal of the whole object.
    pub fn delete(tag: TypeTag, observed: Observed) -> ObjectOp {
        match tag {
            TypeTag::Kv => ObjectOp::Kv(KvOp::Delete { observed }),
            TypeTag::Counter => ObjectOp::Counter(CounterOp::Delete { observed }),
            TypeTag::Set => ObjectOp::Set(SetOp::Delete { observed }),
            TypeTag::Flag => ObjectOp::Flag(FlagOp::Delete { observed }),
        }
    }

    /// Whether the context that came with it is fit for use, see [`SeenContext::is_canonical`].
    pub fn is_canonical(&self) -> bool {
        let observed = match self {
            ObjectOp::Kv(KvOp::Put { observed, .. } | KvOp::Delete { observed })
            | ObjectOp::Counter(
                CounterOp::Reset { observed, .. } | CounterOp::Delete { observed },
            )
            | ObjectOp::Set(SetOp::Update { observed, .. } | SetOp::Delete { observed })
            | ObjectOp::Flag(FlagOp::Set { observed, .. } | FlagOp::Delete { observed }) => {
                observed
            }
            ObjectOp::Counter(CounterOp::Add { .. }) => return true,
        };
        match observed {
            Observed::Context(seen) => seen.is_canonical(),
            Observed::Here | Observed::Nothing => true,
        }
    }

    /// Where this is a removal of the whole object, what it covers.
    pub fn delete_observed(&mut self) -> Option<&mut Observed> {
        match self {
            ObjectOp::Kv(KvOp::Delete { observed })
            | ObjectOp::Counter(CounterOp::Delete { observed })
            | ObjectOp::Set(SetOp::Delete { observed })
            | ObjectOp::Flag(FlagOp::Delete { observed }) => Some(observed),
            _ => None,
        }
    }
}
