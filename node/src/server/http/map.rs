//! Maps: typed fields, changed together.
//!
//! A change is read by hand, not by derived types: which field of which map is wrong is what its
//! writer wants to know.

use super::answer::Answer;
use super::app::Exchange;
use super::backend::Backend;
use super::body;
use super::limits::{MEMBERS_MAX, PAGE_DEFAULT};
use super::member::Member;
use super::params;
use super::problem::{Code, Problem};
use crate::crdt::map::path::{Path, names_from, pointer};
use crate::crdt::map::{Change, DEPTH_MAX, Field, FieldOp, Fields};
use crate::crdt::{MapOp, ObjectOp, TypeTag};
use crate::wire::api::ReadQuery;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Bytes of a field's name.
const NAME_BYTES_MAX: usize = 1_024;
/// Begins the text of a place within a field.
const PLACE: char = '~';

/// `GET`: a page of the map's leaves, as nested fields.
pub async fn get<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let object = exchange.object(TypeTag::Map)?;
    let options = exchange.query.take_options()?;
    let limit = exchange.query.take_number("limit", 1, MEMBERS_MAX as u32)?;
    let after = exchange.query.take("after").map(|text| place(&text)).transpose()?;
    let prefix = exchange.query.take("prefix").unwrap_or_default();
    let prefix = names_from(&params::member("prefix", &prefix)?);
    exchange.finish_query()?;
    let query = ReadQuery::Page { after, prefix, limit: limit.unwrap_or(PAGE_DEFAULT) };
    let read = exchange.read(&object, query, options).await?;
    let crate::crdt::Object::Map(map) = &read.object else {
        return Err(Problem::new(Code::Internal, "the node's reply is of another type"));
    };
    if !read.present {
        return Ok(exchange.absent(&object, &read));
    }
    let fields = map.fields();
    let mut all = Map::new();
    kinds(&fields, "", &mut all);
    let next = read.next.as_ref().map(|key| format!("{PLACE}{}", URL_SAFE_NO_PAD.encode(key)));
    let shown = json!({ "value": shown(&fields)?, "kinds": all, "next": next });
    Ok(exchange.present(&object, &read, shown))
}

/// `POST`: changes fields, all of them or none.
pub async fn post<B: Backend>(mut exchange: Exchange<'_, B>) -> Result<Answer, Problem> {
    let object = exchange.object(TypeTag::Map)?;
    let options = exchange.query.take_write_options()?;
    exchange.finish_query()?;
    let held = exchange.body(exchange.app.limits.members_body_bytes_max).await?;
    let Value::Object(mut body) = body::json(&held.bytes)? else {
        return Err(malformed("the body is an object with update, remove or both"));
    };
    let context = match body.remove("context") {
        None => None,
        Some(Value::String(context)) => Some(context),
        Some(_) => return Err(malformed("context is a string")),
    };
    let observed = exchange.observed(&object, context.as_deref())?;
    let update = body.remove("update");
    let remove = body.remove("remove");
    if let Some(other) = body.keys().next() {
        return Err(malformed(format!("unknown field {other:?}: update, remove and context are")));
    }
    let change = change(&Path::default(), update, remove, 1)?;
    let count = change.leaf_count();
    if count == 0 {
        return Err(malformed("name at least one field in update or remove"));
    }
    if count > MEMBERS_MAX {
        let text = format!("{count} fields and members exceed the limit of {MEMBERS_MAX} a call");
        return Err(Problem::too_large(text, MEMBERS_MAX));
    }
    let op = ObjectOp::Map(MapOp::Update { change, observed });
    let written = exchange.write(&object, op, options).await?;
    Ok(exchange.written(&object, &written, json!({})))
}

fn malformed(text: impl Into<String>) -> Problem {
    Problem::new(Code::MalformedBody, text)
}

/// The place that `after` names: what `next` said, or behind all of a field.
fn place(text: &str) -> Result<Vec<u8>, Problem> {
    match text.strip_prefix(PLACE) {
        Some(place) => URL_SAFE_NO_PAD
            .decode(place)
            .map_err(|_| Problem::parameter("after", "no place that next named")),
        None => {
            let name = params::member("after", text)?;
            let name = String::from_utf8(name)
                .map_err(|_| Problem::parameter("after", "names of fields are UTF-8"))?;
            // Every key of the field goes on with the byte of its kind.
            Ok([&Path::default().field(&name)[..], &[0xff]].concat())
        }
    }
}

fn change(
    at: &Path,
    update: Option<Value>,
    remove: Option<Value>,
    depth: usize,
) -> Result<Change, Problem> {
    if depth > DEPTH_MAX {
        let text = format!("maps can be nested {DEPTH_MAX} deep");
        return Err(Problem::new(Code::TooDeep, text).with("limit", DEPTH_MAX.into()));
    }
    let mut change = Change::default();
    match update {
        None => {}
        Some(Value::Object(fields)) => {
            for (name, op) in fields {
                check_name(&name)?;
                let op = field(at, &name, op, depth)?;
                change.update.insert(name, op);
            }
        }
        Some(_) => return Err(malformed("update is an object of fields")),
    }
    match remove {
        None => {}
        Some(Value::Array(names)) => {
            for name in names {
                let Value::String(name) = name else {
                    return Err(malformed("remove is a list of names of fields"));
                };
                check_name(&name)?;
                if change.update.contains_key(&name) {
                    return Err(malformed(format!("{:?} is in update and remove", at.text(&name))));
                }
                change.remove.insert(name);
            }
        }
        Some(_) => return Err(malformed("remove is a list of names of fields")),
    }
    Ok(change)
}

fn check_name(name: &str) -> Result<(), Problem> {
    match name.len() {
        1..=NAME_BYTES_MAX => Ok(()),
        length => Err(malformed(format!(
            "a field's name of {length} bytes; 1 to {NAME_BYTES_MAX} are allowed"
        ))),
    }
}

/// What is to become of one field: one kind of change.
fn field(at: &Path, name: &str, op: Value, depth: usize) -> Result<FieldOp, Problem> {
    let refuse = |why: &str| Err(malformed(format!("{}: {why}", at.text(name))));
    let Value::Object(mut op) = op else {
        return refuse("an object with register, mvregister, counter, flag, add, remove or map");
    };
    if let Some(fields) = op.remove("map") {
        let remove = op.remove("remove");
        if let Some(other) = op.keys().next() {
            return refuse(&format!("{other:?} does not go with map"));
        }
        return change(&at.map(name), Some(fields), remove, depth + 1).map(FieldOp::Map);
    }
    if op.contains_key("add") || op.contains_key("remove") {
        let (add, remove) = (op.remove("add"), op.remove("remove"));
        if let Some(other) = op.keys().next() {
            return refuse(&format!("{other:?} does not go with add and remove"));
        }
        let (add, remove) = (members(at, name, add)?, members(at, name, remove)?);
        if let Some(both) = add.intersection(&remove).next() {
            return refuse(&format!("{:?} is in add and remove", String::from_utf8_lossy(both)));
        }
        return Ok(FieldOp::Set { add, remove });
    }
    let mut entries = op.into_iter();
    let (Some((kind, value)), None) = (entries.next(), entries.next()) else {
        return refuse("exactly one of register, mvregister, counter, flag, add, remove and map");
    };
    match (kind.as_str(), value) {
        ("register", value) => Ok(FieldOp::Register(value.to_string().into_bytes())),
        ("mvregister", value) => Ok(FieldOp::MvRegister(value.to_string().into_bytes())),
        ("counter", value) => match value.as_i64() {
            Some(amount) => Ok(FieldOp::Counter(amount)),
            None => refuse("counter is a signed 64-bit integer"),
        },
        ("flag", Value::Bool(on)) => Ok(FieldOp::Flag(on)),
        ("enable", Value::Bool(true)) => Ok(FieldOp::Flag(true)),
        ("disable", Value::Bool(true)) => Ok(FieldOp::Flag(false)),
        ("flag", _) => refuse("flag is true or false"),
        (other, _) => refuse(&format!("{other:?} is no kind of field, or not with this value")),
    }
}

fn members(at: &Path, name: &str, list: Option<Value>) -> Result<BTreeSet<Vec<u8>>, Problem> {
    let Some(list) = list else { return Ok(BTreeSet::new()) };
    let members: Result<Vec<Member>, _> = serde_json::from_value(list);
    let members = members.map_err(|why| malformed(format!("{}: {why}", at.text(name))))?;
    Ok(members.into_iter().map(Member::into_bytes).collect())
}

fn shown(fields: &Fields) -> Result<Value, Problem> {
    let mut all = Map::new();
    for (name, field) in fields.iter() {
        all.insert(name.clone(), one(field)?);
    }
    Ok(Value::Object(all))
}

fn one(field: &Field) -> Result<Value, Problem> {
    let register = |value: &Vec<u8>| -> Result<Value, Problem> {
        serde_json::from_slice(value)
            .map_err(|why| Problem::new(Code::Internal, format!("a stored register: {why}")))
    };
    Ok(match field {
        Field::Register(value) => register(value)?,
        Field::MvRegister(values) => {
            Value::Array(values.iter().map(register).collect::<Result<_, _>>()?)
        }
        Field::Counter(sum) => json!(sum),
        Field::Flag(on) => json!(on),
        Field::Set(members) => {
            json!(members.iter().cloned().map(Member::from).collect::<Vec<_>>())
        }
        Field::Map(fields) => shown(fields)?,
    })
}

/// The kind of each field, of those in inner maps by their path.
fn kinds(fields: &Fields, at: &str, all: &mut Map<String, Value>) {
    for (name, field) in fields.iter() {
        let path = format!("{at}{}", pointer(name));
        if let Field::Map(fields) = field {
            kinds(fields, &format!("{path}/"), all);
        }
        all.insert(path, field.kind().name().into());
    }
}
