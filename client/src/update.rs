//! Changes of a map's fields, put together before they are sent.

use crate::member::Member;
use crate::object::LIST_MAX;
use serde_json::{Map as Json, Value, json};
use std::collections::BTreeMap;

/// Changes of fields, all made at once. The last change of a field counts, but additions to a set
/// and removals from it are gathered. A field has one kind; changing it as another is refused
/// ([`Error::is_conflict`](crate::Error::is_conflict)).
///
/// ```
/// use starling_client::MapUpdate;
///
/// let update = MapUpdate::new()
///     .register("name", "Ada")
///     .add("tags", ["maths"])
///     .take("tags", ["poetry"])
///     .map("address", MapUpdate::new().register("city", "London").remove("street"))
///     .remove("nickname");
/// assert_eq!(update.len(), 6);
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
pub struct MapUpdate {
    update: BTreeMap<String, Change>,
    remove: Vec<String>,
}

#[derive(Clone, PartialEq, Debug)]
enum Change {
    Register(Value),
    MvRegister(Value),
    Counter(i64),
    Flag(bool),
    Set { add: Vec<Vec<u8>>, take: Vec<Vec<u8>> },
    Map(MapUpdate),
}

impl MapUpdate {
    /// No changes yet.
    #[must_use]
    pub fn new() -> MapUpdate {
        MapUpdate::default()
    }

    /// Sets a register: of concurrent values the last is read.
    #[must_use]
    pub fn register(self, field: impl Into<String>, value: impl Into<Value>) -> MapUpdate {
        self.with(field, Change::Register(value.into()))
    }

    /// Sets a multi-value register: concurrent values are all read.
    #[must_use]
    pub fn mvregister(self, field: impl Into<String>, value: impl Into<Value>) -> MapUpdate {
        self.with(field, Change::MvRegister(value.into()))
    }

    /// Adds to a counter, negative to subtract. An update with a counter is not repeated when
    /// it may have been applied.
    #[must_use]
    pub fn counter(self, field: impl Into<String>, amount: i64) -> MapUpdate {
        self.with(field, Change::Counter(amount))
    }

    /// Switches a flag; on wins over a concurrent off.
    #[must_use]
    pub fn flag(self, field: impl Into<String>, on: bool) -> MapUpdate {
        self.with(field, Change::Flag(on))
    }

    /// Adds members to a set.
    #[must_use]
    pub fn add<I>(mut self, field: impl Into<String>, members: I) -> MapUpdate
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let members = members.into_iter().map(|member| member.as_ref().to_vec());
        self.set(field.into()).0.extend(members);
        self
    }

    /// Takes members out of a set, as far as observed.
    #[must_use]
    pub fn take<I>(mut self, field: impl Into<String>, members: I) -> MapUpdate
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let members = members.into_iter().map(|member| member.as_ref().to_vec());
        self.set(field.into()).1.extend(members);
        self
    }

    /// Changes fields of a map in the map; up to 8 deep.
    #[must_use]
    pub fn map(self, field: impl Into<String>, update: MapUpdate) -> MapUpdate {
        self.with(field, Change::Map(update))
    }

    /// Removes a field with all in it, as far as observed.
    #[must_use]
    pub fn remove(mut self, field: impl Into<String>) -> MapUpdate {
        self.remove.push(field.into());
        self
    }

    /// How many registers, counters, flags, members and removals it names; 1 to 1,000 go in a
    /// call.
    pub fn len(&self) -> usize {
        let changes = self.update.values().map(|change| match change {
            Change::Set { add, take } => add.len() + take.len(),
            Change::Map(update) => update.len(),
            _ => 1,
        });
        changes.fold(self.remove.len(), |sum, count| sum.saturating_add(count).min(LIST_MAX + 1))
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether carrying it out twice would count twice.
    pub(crate) fn counts(&self) -> bool {
        self.update.values().any(|change| match change {
            Change::Counter(_) => true,
            Change::Map(update) => update.counts(),
            _ => false,
        })
    }

    /// The body of the request.
    pub(crate) fn body(&self) -> Value {
        json!({ "update": self.changes(), "remove": self.remove })
    }

    fn changes(&self) -> Json<String, Value> {
        let changes = self.update.iter().map(|(name, change)| {
            let change = match change {
                Change::Register(value) => json!({ "register": value }),
                Change::MvRegister(value) => json!({ "mvregister": value }),
                Change::Counter(amount) => json!({ "counter": amount }),
                Change::Flag(on) => json!({ "flag": on }),
                Change::Set { add, take } => {
                    json!({ "add": Member::all(add), "remove": Member::all(take) })
                }
                Change::Map(update) => {
                    json!({ "map": update.changes(), "remove": update.remove })
                }
            };
            (name.clone(), change)
        });
        changes.collect()
    }

    fn with(mut self, field: impl Into<String>, change: Change) -> MapUpdate {
        self.update.insert(field.into(), change);
        self
    }

    /// The lists of a set's change, of a new one if the field was changed as another kind.
    fn set(&mut self, field: String) -> (&mut Vec<Vec<u8>>, &mut Vec<Vec<u8>>) {
        let none = || Change::Set { add: Vec::new(), take: Vec::new() };
        let change = self.update.entry(field).or_insert_with(none);
        if !matches!(change, Change::Set { .. }) {
            *change = none();
        }
        match change {
            Change::Set { add, take } => (add, take),
            _ => unreachable!("it was made a set"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_become_the_body_of_the_interface() {
        let inner = MapUpdate::new().register("city", "London").remove("street");
        let update = MapUpdate::new()
            .register("name", "Ada")
            .mvregister("seen", 7)
            .counter("visits", 1)
            .flag("on", true)
            .add("tags", ["x"])
            .take("tags", ["y"])
            .add("tags", [b"\xff"])
            .map("address", inner)
            .remove("old");
        let body = json!({
            "update": {
                "name": {"register": "Ada"},
                "seen": {"mvregister": 7},
                "visits": {"counter": 1},
                "on": {"flag": true},
                "tags": {"add": ["x", {"base64": "/w=="}], "remove": ["y"]},
                "address": {"map": {"city": {"register": "London"}}, "remove": ["street"]},
            },
            "remove": ["old"],
        });
        assert_eq!((update.body(), update.len()), (body, 10));
        assert!(MapUpdate::new().is_empty());
    }

    #[test]
    fn only_a_counter_counts_twice_however_deep_it_is() {
        let deep = MapUpdate::new().map("a", MapUpdate::new().counter("n", 1));
        assert!(deep.counts());
        let other = MapUpdate::new().register("r", 1).add("s", ["m"]).flag("f", false);
        assert!(!other.map("m", MapUpdate::new().mvregister("v", 1)).counts());
    }
}
