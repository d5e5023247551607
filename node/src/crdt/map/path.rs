//! Paths: the keys of a map's rows, ordered so that a field and a map below it are each one range.
//!
//! A component is the name, escaped (`00` is written `00 01`) and ended by `00 00`, and a byte for
//! the kind. A member of a set follows its field as it is; the fields of a map follow theirs.

/// What a field is, by the byte that stands for it in keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A value; the last one written is read.
    Register = 1,
    /// A value; concurrent ones are kept side by side.
    MvRegister = 2,
    /// A sum.
    Counter = 3,
    /// On or off.
    Flag = 4,
    /// Members.
    Set = 5,
    /// Fields.
    Map = 6,
}

impl Kind {
    const ALL: [Kind; 6] =
        [Kind::Register, Kind::MvRegister, Kind::Counter, Kind::Flag, Kind::Set, Kind::Map];

    /// Its name, as in the answer to a read.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Register => "register",
            Kind::MvRegister => "mvregister",
            Kind::Counter => "counter",
            Kind::Flag => "flag",
            Kind::Set => "set",
            Kind::Map => "map",
        }
    }

    /// The kind of that byte.
    pub fn of_byte(byte: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Where a map is within the outermost one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Path {
    key: Vec<u8>,
    names: Vec<String>,
}

impl Path {
    /// What the keys of all rows of this field begin with, and no other keys.
    pub fn field(&self, name: &str) -> Vec<u8> {
        let mut key = self.key.clone();
        escape(name.as_bytes(), &mut key);
        key.extend([0, 0]);
        key
    }

    /// The key of a field that is one row.
    pub fn leaf(&self, name: &str, kind: Kind) -> Vec<u8> {
        let mut key = self.field(name);
        key.push(kind as u8);
        key
    }

    /// The key of a member of a field that is a set.
    pub fn member(&self, name: &str, member: &[u8]) -> Vec<u8> {
        [&self.leaf(name, Kind::Set)[..], member].concat()
    }

    /// The map that a field is.
    pub fn map(&self, name: &str) -> Path {
        let names = self.names.iter().cloned().chain([name.to_owned()]).collect();
        Path { key: self.leaf(name, Kind::Map), names }
    }

    /// A field, for people: names with `/` between them, as in a JSON pointer.
    pub fn text(&self, name: &str) -> String {
        let names = self.names.iter().map(String::as_str).chain([name]);
        names.map(pointer).collect::<Vec<_>>().join("/")
    }
}

/// A name as a part of a JSON pointer (RFC 6901, section 3).
pub fn pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What the keys of all fields whose names begin so begin with.
pub fn names_from(prefix: &[u8]) -> Vec<u8> {
    let mut key = Vec::new();
    escape(prefix, &mut key);
    key
}

fn escape(name: &[u8], key: &mut Vec<u8>) {
    for &byte in name {
        key.push(byte);
        if byte == 0 {
            key.push(1);
        }
    }
}

/// The first component of a key, its kind, and what follows. `None` when the bytes are no key.
pub fn split(key: &[u8]) -> Option<(String, Kind, &[u8])> {
    let mut name = Vec::new();
    let mut at = 0;
    loop {
        match (*key.get(at)?, key.get(at + 1)) {
            (0, Some(0)) => break,
            (0, Some(1)) => {
                name.push(0);
                at += 2;
            }
            (0, _) => return None,
            (byte, _) => {
                name.push(byte);
                at += 1;
            }
        }
    }
    let kind = Kind::of_byte(*key.get(at + 2)?)?;
    Some((String::from_utf8(name).ok()?, kind, &key[at + 3..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_reads_back(name in "[a\u{0}\u{1}é/]{0,4}", member: Vec<u8>) {
            let inner = Path::default().map(&name);
            let key = inner.member(&name, &member);
            let (outer, kind, rest) = split(&key).unwrap();
            prop_assert_eq!((&outer, kind), (&name, Kind::Map));
            prop_assert_eq!(split(rest), Some((name, Kind::Set, &member[..])));
        }

        #[test]
        fn no_field_is_within_another_and_they_sort_by_name(
            a in "[a\u{0}\u{1}é]{0,4}", b in "[a\u{0}\u{1}é]{0,4}",
        ) {
            let (key_a, key_b) = (Path::default().field(&a), Path::default().field(&b));
            prop_assert_eq!(a == b, key_b.starts_with(&key_a));
            prop_assert_eq!(a.cmp(&b), key_a.cmp(&key_b));
            prop_assert_eq!(b.starts_with(&a), key_b.starts_with(&names_from(a.as_bytes())));
        }

        #[test]
        fn junk_is_no_key_or_reads_as_one(junk: Vec<u8>) {
            if let Some((name, kind, rest)) = split(&junk) {
                let head = Path::default().leaf(&name, kind);
                prop_assert_eq!([&head[..], rest].concat(), junk);
            }
        }
    }
}
