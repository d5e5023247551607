//! Schemas of answers, for the OpenAPI document. Each name is used by a route.

use crate::crdt::expiry::TTL_MAX_S;
use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

/// Any text.
pub fn text() -> RefOr<Schema> {
    schema(json!({ "type": "string" }))
}

/// Any bytes.
pub fn bytes() -> RefOr<Schema> {
    schema(json!({ "type": "string", "format": "binary" }))
}

/// Any JSON object.
pub fn anything() -> RefOr<Schema> {
    schema(json!({ "type": "object" }))
}

/// Name and schema of each answer.
pub fn all() -> Vec<(&'static str, RefOr<Schema>)> {
    let all = [data(), operators()].concat();
    all.into_iter().map(|(name, value)| (name, schema(value))).collect()
}

fn schema(value: Value) -> RefOr<Schema> {
    RefOr::T(serde_json::from_value(value).expect("the literals here are schemas"))
}

/// An object of which all fields are there.
fn object(properties: Value) -> Value {
    let names: Vec<_> = properties.as_object().into_iter().flat_map(|all| all.keys()).collect();
    json!({ "type": "object", "properties": properties, "required": names })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn data() -> Vec<(&'static str, Value)> {
    let (string, boolean) = (json!({ "type": "string" }), json!({ "type": "boolean" }));
    let count = json!({ "type": "integer", "minimum": 0 });
    let int64 = json!({ "type": "integer", "format": "int64" });
    let acks = reference("Acks");
    let page = json!({
        "members": list(reference("Member")),
        "count": count,
        "next": { "oneOf": [reference("Member"), { "type": "null" }] },
        "context": string,
    });
    let sibling =
        object(json!({ "content_type": string, "value_base64": string, "written_at": string }));
    vec![
        ("Acks", object(json!({ "owners": count, "hints": count, "durable": count }))),
        ("Written", object(json!({ "context": string, "acks": acks }))),
        ("Siblings", object(json!({ "siblings": list(sibling), "context": string }))),
        ("Counter", object(json!({ "value": int64, "context": string }))),
        ("CounterWritten", object(json!({ "value": int64, "context": string, "acks": acks }))),
        ("SetPage", object(page)),
        ("SetMember", object(json!({ "member": boolean }))),
        ("MapPage", map_page()),
        ("MapUpdate", map_update()),
        ("FieldUpdate", field_update()),
        (
            "Expiry",
            object(json!({
                "ttl_seconds": { "type": ["integer", "null"] },
                "expires_at": { "type": ["string", "null"] },
                "context": string,
            })),
        ),
        (
            "ExpiryWritten",
            object(json!({
                "expires_at": { "type": ["string", "null"] }, "context": string, "acks": acks,
            })),
        ),
        ("ZsetPage", zset_page()),
        ("ZsetMember", object(scored())),
        ("Hll", object(json!({ "estimate": count, "context": string }))),
        ("Flag", object(json!({ "enabled": boolean, "context": string }))),
        ("FlagWritten", object(json!({ "enabled": boolean, "context": string, "acks": acks }))),
    ]
}

fn map_page() -> Value {
    let kinds = json!({
        "type": "object",
        "description": "The kind of each field, of those in inner maps by path (a/b).",
        "additionalProperties": { "type": "string" },
    });
    object(json!({
        "value": { "type": "object" },
        "kinds": kinds,
        "next": { "type": ["string", "null"] },
        "context": { "type": "string" },
    }))
}

fn scored() -> Value {
    json!({ "member": reference("Member"), "score": { "type": "number", "format": "double" } })
}

fn zset_page() -> Value {
    object(json!({
        "members": list(object(scored())),
        "count": { "type": "integer", "minimum": 0 },
        "next": {
            "description": "By score opaque text, by member the last member.",
            "oneOf": [reference("Member"), { "type": "null" }],
        },
        "context": { "type": "string" },
    }))
}

fn map_update() -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": {
        "update": { "type": "object", "additionalProperties": reference("FieldUpdate") },
        "remove": list(json!({ "type": "string" })),
        "context": { "type": "string" },
    }})
}

fn field_update() -> Value {
    let one = |name: &str, schema: Value| {
        let properties = json!({ name: schema });
        json!({ "type": "object", "required": [name], "properties": properties })
    };
    let any = || json!({ "type": ["object", "array", "string", "number", "boolean", "null"] });
    let members = list(reference("Member"));
    json!({ "oneOf": [
        one("register", any()),
        one("mvregister", any()),
        one("counter", json!({ "type": "integer", "format": "int64" })),
        one("flag", json!({ "type": "boolean" })),
        { "type": "object", "properties": { "add": members, "remove": members } },
        { "type": "object", "required": ["map"], "properties": {
            "map": { "type": "object", "additionalProperties": reference("FieldUpdate") },
            "remove": list(json!({ "type": "string" })),
        }},
    ]})
}

fn operators() -> Vec<(&'static str, Value)> {
    let (string, boolean) = (json!({ "type": "string" }), json!({ "type": "boolean" }));
    let count = json!({ "type": "integer", "minimum": 0 });
    let any = json!({ "type": "object" });
    let quorum = json!({ "oneOf": [
        { "type": "string", "enum": ["one", "quorum", "all"] },
        { "type": "integer", "minimum": 1, "maximum": 7 },
    ]});
    let bucket = json!({ "type": "object", "properties": {
        "n": { "type": "integer", "minimum": 1, "maximum": 7 },
        "r": quorum,
        "w": quorum,
        "sloppy": boolean,
        "durability": { "type": "string", "enum": ["sync", "batched"] },
        "resolve": { "type": "string", "enum": ["siblings", "lww"] },
        "ttl_seconds": { "type": "integer", "minimum": 1, "maximum": TTL_MAX_S },
    }});
    let member = object(json!({
        "name": string, "id": string, "zone": string, "capacity": count, "alive": boolean,
        "http_addr": string, "peer_addr": string, "generation": count, "layout": string,
        "partitions": count, "hints_owed": count,
    }));
    let layout = json!({ "type": ["object", "null"], "properties": {
        "id": string, "version": count, "parent": string, "members": list(any.clone()),
    }});
    let cluster = json!({
        "node": string, "ready": boolean, "layout": layout, "members": list(member),
    });
    let explained = json!({
        "type": string, "bucket": string, "key": reference("Member"), "partition": count,
        "layout": string, "owners_agree": boolean, "why": string,
        "replicas": list(any), "silent": list(string.clone()),
    });
    let operation = json!({
        "state": { "type": "string", "enum": ["applied", "not_applied", "unknown"] },
        "applied_on": list(string.clone()), "hinted_for": list(string.clone()),
        "silent": list(string.clone()),
    });
    let problem = json!({
        "type": string, "title": string, "status": count, "detail": string, "code": string,
    });
    vec![
        ("Bucket", bucket),
        ("Cluster", object(cluster)),
        ("Explained", object(explained)),
        ("Operation", object(operation)),
        ("Health", object(json!({ "status": string, "node": string }))),
        ("Readiness", object(json!({ "ready": boolean }))),
        ("Problem", object(problem)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BucketProps;

    #[test]
    fn the_bucket_schema_names_the_properties_there_are() {
        let (_, bucket) = operators().remove(0);
        let described: Vec<_> = bucket["properties"].as_object().unwrap().keys().cloned().collect();
        let props =
            serde_json::to_value(BucketProps { ttl_seconds: Some(1), ..BucketProps::default() })
                .unwrap();
        let known: Vec<_> = props.as_object().unwrap().keys().cloned().collect();
        assert_eq!(described, known);
    }
}
