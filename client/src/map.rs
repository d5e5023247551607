//! Maps: named fields of different types, nested, changed together.

use crate::answer::{Context, Written};
use crate::error::Error;
use crate::object::{Object, check_count, handle, whole};
use crate::repeat::Repeat;
use crate::transport::encoded;
use crate::{Client, MapUpdate};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One map.
///
/// ```
/// # starling_client::example(async |client| {
/// use starling_client::{Field, MapRange, MapUpdate};
///
/// let ada = client.map("users", "ada");
/// let update = MapUpdate::new()
///     .register("name", "Ada")
///     .counter("visits", 1)
///     .add("tags", ["maths", "engines"])
///     .map("address", MapUpdate::new().register("city", "London"));
/// ada.update(&update).await?;
///
/// let page = ada.page(&MapRange::default()).await?;
/// let city = page.fields.at(["address", "city"]);
/// assert_eq!(city, Some(&Field::Register("London".into())));
/// # Ok(())
/// # });
/// ```
///
/// # What is repeated
/// Reads and removals, always. An update that changes a counter only when surely nothing was
/// applied, as of a [`Counter`](crate::Counter); every other update always. One of a multi-value
/// register that was applied twice reads as its value twice until the next write.
#[derive(Clone, Debug)]
pub struct Map {
    object: Object,
}

handle!(Map);
whole!(Map);

/// Which fields to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapRange {
    /// What the last page gave as `next`, or the name of a field to begin behind it.
    pub after: Option<String>,
    /// Only fields whose names begin so.
    pub prefix: String,
    /// At most so many registers, counters, flags and members, 1 to 1,000.
    pub limit: u32,
}

impl Default for MapRange {
    fn default() -> Self {
        MapRange { after: None, prefix: String::new(), limit: 100 }
    }
}

/// Fields by name, in order.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Fields(BTreeMap<String, Field>);

/// What one field holds.
#[derive(Clone, PartialEq, Debug)]
pub enum Field {
    /// The value written last.
    Register(Value),
    /// All values that were written at once.
    MvRegister(Vec<Value>),
    /// A sum.
    Counter(i64),
    /// On or off.
    Flag(bool),
    /// Members in order, those on this page.
    Set(Vec<Vec<u8>>),
    /// Fields in it, those on this page.
    Map(Fields),
}

/// Fields of a map, with what they hold.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct MapPage {
    /// The fields. One may go on on the next page.
    pub fields: Fields,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
    /// What was seen; `None` of a map never heard of.
    pub context: Option<Context>,
}

impl Fields {
    /// A field.
    pub fn get(&self, name: &str) -> Option<&Field> {
        self.0.get(name)
    }

    /// A field in a map in a map, by its names from the outside in.
    pub fn at<'n>(&self, path: impl IntoIterator<Item = &'n str>) -> Option<&Field> {
        let mut path = path.into_iter();
        let first = self.get(path.next()?);
        path.fold(first, |found, name| match found {
            Some(Field::Map(fields)) => fields.get(name),
            _ => None,
        })
    }

    /// All fields, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.0.iter().map(|(name, field)| (name.as_str(), field))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Deserialize)]
struct Read {
    value: BTreeMap<String, Value>,
    kinds: BTreeMap<String, String>,
    next: Option<String>,
    context: Context,
}

impl Map {
    pub(crate) fn new(client: Client, bucket: &str, key: &[u8]) -> Map {
        Map { object: Object::new(client, "map", bucket, key) }
    }

    /// Some of the fields; an absent map has none.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn page(&self, range: &MapRange) -> Result<MapPage, Error> {
        let mut query = format!("&limit={}", range.limit);
        for (name, text) in [("after", range.after.as_deref()), ("prefix", Some(&range.prefix))] {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                query += &format!("&{name}={}", encoded(text.as_bytes()));
            }
        }
        let read: Option<Read> = self.object.find(self.object.read(&query)).await?;
        let Some(Read { value, kinds, next, context }) = read else {
            return Ok(MapPage::default());
        };
        let fields = fields("", value, &kinds)?;
        Ok(MapPage { fields, next, context: Some(context) })
    }

    /// Changes and removes fields, all of them or none. Fields are removed as far as the
    /// applying replica has seen them.
    ///
    /// # Errors
    /// [`Error::is_conflict`] when a field is of another kind or maps are nested too deep, and
    /// those of any call. When [`Error::is_unknown`] of an update that changes a counter, a
    /// repetition may count twice.
    pub async fn update(&self, update: &MapUpdate) -> Result<Written, Error> {
        self.send(update, None).await
    }

    /// The same, with removals of exactly what `context` has seen.
    ///
    /// # Errors
    /// As for [`update`](Map::update).
    pub async fn update_seen(
        &self,
        update: &MapUpdate,
        context: &Context,
    ) -> Result<Written, Error> {
        self.send(update, Some(context)).await
    }

    async fn send(&self, update: &MapUpdate, context: Option<&Context>) -> Result<Written, Error> {
        check_count(update.len(), "fields and members")?;
        let repeat = match update.counts() {
            true => Repeat::CountsTwice,
            false => Repeat::Harmless,
        };
        self.object.change(update.body(), context, repeat).await
    }
}

/// Fields out of JSON, whose kinds are listed by their paths.
fn fields(
    at: &str,
    values: BTreeMap<String, Value>,
    kinds: &BTreeMap<String, String>,
) -> Result<Fields, Error> {
    let mut all = BTreeMap::new();
    for (name, value) in values {
        // A path is a JSON pointer without its first slash (RFC 6901, section 3).
        let path = format!("{at}{}", name.replace('~', "~0").replace('/', "~1"));
        let field = field(&path, value, kinds)?;
        all.insert(name, field);
    }
    Ok(Fields(all))
}

fn field(path: &str, value: Value, kinds: &BTreeMap<String, String>) -> Result<Field, Error> {
    let kind = kinds.get(path).map(String::as_str);
    let read = match kind {
        Some("register") => Ok(Field::Register(value)),
        Some("mvregister") => serde_json::from_value(value).map(Field::MvRegister),
        Some("counter") => serde_json::from_value(value).map(Field::Counter),
        Some("flag") => serde_json::from_value(value).map(Field::Flag),
        Some("set") => {
            let members: Result<Vec<crate::member::Member>, _> = serde_json::from_value(value);
            match members {
                Ok(members) => {
                    let members = members.into_iter().map(crate::member::Member::into_bytes);
                    return members.collect::<Result<_, _>>().map(Field::Set);
                }
                Err(error) => Err(error),
            }
        }
        Some("map") => match serde_json::from_value(value) {
            Ok(inner) => return fields(&format!("{path}/"), inner, kinds).map(Field::Map),
            Err(error) => Err(error),
        },
        other => {
            let text = format!("{path} is of the kind {other:?}, which this client does not know");
            return Err(Error::garbled(false, text));
        }
    };
    read.map_err(|error| Error::garbled(false, format!("{path}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_read_by_their_kinds_at_every_depth() {
        let value = json!({
            "n/a~": 3, "on": true, "tags": ["a", {"base64": "/w=="}], "seen": [1, "x"],
            "home": {"city": "London", "back": {"door": false}},
        });
        let kinds = json!({
            "n~1a~0": "counter", "on": "flag", "tags": "set", "seen": "mvregister",
            "home": "map", "home/city": "register", "home/back": "map", "home/back/door": "flag",
        });
        let value = serde_json::from_value(value).unwrap();
        let found = fields("", value, &serde_json::from_value(kinds).unwrap()).unwrap();
        assert_eq!(found.get("n/a~"), Some(&Field::Counter(3)));
        assert_eq!(found.get("tags"), Some(&Field::Set(vec![b"a".to_vec(), b"\xff".to_vec()])));
        assert_eq!(found.get("seen"), Some(&Field::MvRegister(vec![json!(1), json!("x")])));
        assert_eq!(found.at(["home", "back", "door"]), Some(&Field::Flag(false)));
        assert_eq!(found.at(["home", "city"]), Some(&Field::Register(json!("London"))));
        assert_eq!((found.at(["home", "city", "x"]), found.len()), (None, 5));
        let strange = BTreeMap::from([("f".to_owned(), json!(1))]);
        let error = fields("", strange, &BTreeMap::new()).unwrap_err();
        assert!(!error.is_unknown(), "a read applies nothing: {error}");
    }
}
