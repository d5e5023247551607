//! `/openapi.json`: this interface as OpenAPI 3.1, made from the table of routes, the types that
//! bodies are decoded into, and the table of error codes.

use super::answer;
use super::boundedcounter::BoundedCounterUpdate;
use super::cluster::ClusterApply;
use super::counter::CounterUpdate;
use super::expiry::ExpiryUpdate;
use super::flag::FlagUpdate;
use super::hll::HllUpdate;
use super::limits::{MEMBERS_MAX, PAGE_DEFAULT};
use super::member::Member;
use super::params::{DATA_PARAMETERS, WRITE_PARAMETERS};
use super::problem::Code;
use super::router::{Call, ROUTES, Route};
use super::schemas;
use super::set::SetUpdate;
use super::zset::{Increment, Scored, ZsetUpdate};
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathsBuilder,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathItem,
    Ref, RefOr, Required, Response, ResponseBuilder,
};

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";
const ANY: &str = "*/*";

/// The document.
pub fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Starling")
        .version("1")
        .description(Some("An always-writable store of data types that merge."))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").build()));
    let mut paths = PathsBuilder::new();
    for route in ROUTES {
        paths = paths.path(route.path, PathItem::new(method(route.method), operation(route)));
    }
    let mut components = ComponentsBuilder::new()
        .schema_from::<Member>()
        .schema_from::<CounterUpdate>()
        .schema_from::<SetUpdate>()
        .schema_from::<FlagUpdate>()
        .schema_from::<BoundedCounterUpdate>()
        .schema_from::<HllUpdate>()
        .schema_from::<ExpiryUpdate>()
        .schema_from::<ZsetUpdate>()
        .schema_from::<Scored>()
        .schema_from::<Increment>()
        .schema_from::<ClusterApply>();
    for (name, schema) in schemas::all() {
        components = components.schema(name, schema);
    }
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths.build())
        .components(Some(components.build()))
        .build()
}

fn method(name: &str) -> HttpMethod {
    match name {
        "GET" => HttpMethod::Get,
        "PUT" => HttpMethod::Put,
        "POST" => HttpMethod::Post,
        "DELETE" => HttpMethod::Delete,
        other => unreachable!("no route has the method {other}"),
    }
}

fn operation(route: &Route) -> OperationBuilder {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(route.name))
        .summary(Some(route.summary))
        .request_body(request_body(route.call));
    for parameter in parameters(route) {
        operation = operation.parameter(parameter);
    }
    for (status, response) in successes(route.call) {
        operation = operation.response(status, response);
    }
    operation.response("default", problem())
}

/// Whether the call reads or writes an object and so takes the parameters of data calls.
fn is_data(route: &Route) -> bool {
    route.path.starts_with("/v1/")
        && route.path.contains("{key}")
        && !route.path.starts_with("/v1/explain/")
}

/// Whether the call changes what an object holds, and so may say when it expires.
fn is_write(route: &Route) -> bool {
    matches!(route.method, "PUT" | "POST") && route.call != Call::ExpiryPut
}

fn parameters(route: &Route) -> Vec<Parameter> {
    let mut all = Vec::new();
    for name in route.path.split(['{', '}']).skip(1).step_by(2) {
        all.push(parameter(name, ParameterIn::Path, segment_help(name)));
    }
    if is_data(route) {
        all.extend(DATA_PARAMETERS.map(|name| query(name, data_help(name))));
        let context = "What the client has seen, or `none`: what a write or removal supersedes.";
        if is_write(route) {
            all.extend(WRITE_PARAMETERS.map(|name| query(name, data_help(name))));
        }
        if route.method != "GET" && route.call != Call::ExpiryPut {
            all.push(parameter(answer::CONTEXT.as_str(), ParameterIn::Header, context));
        }
    }
    match route.call {
        Call::KvGet => all.push(query("resolve", "`lww` or `siblings`; else the bucket's.")),
        Call::SetGet | Call::RwSetGet => {
            let limit =
                format!("Members on the page, 1 to {MEMBERS_MAX}, {PAGE_DEFAULT} if left out.");
            all.push(query("limit", &limit));
            all.push(query("after", "Only members after this one."));
            all.push(query("prefix", "Only members that begin so."));
        }
        Call::MapGet => {
            all.push(query("limit", "Leaves on the page, 1 to 1,000, 100 if left out."));
            all.push(query("after", "Only what comes after this field, or where `next` says."));
            all.push(query("prefix", "Only fields whose names begin so."));
        }
        Call::ZsetGet => all.extend(zset_page()),
        Call::CounterPost => {
            let help =
                "1 to 255 bytes: under one key a change counts once, whoever is asked again.";
            all.push(parameter("Idempotency-Key", ParameterIn::Header, help));
        }
        Call::Ops => {
            all.push(query("type", "The object's type: `counter`."));
            all.push(query("bucket", "The object's bucket."));
            all.push(query("key", "The object's key, percent-encoded."));
        }
        _ => {}
    }
    all
}

fn zset_page() -> Vec<Parameter> {
    let limit = format!("Members on the page, 1 to {MEMBERS_MAX}, {PAGE_DEFAULT} if left out.");
    let all = [
        ("order", "`score`, the default, or `member`."),
        ("limit", &limit),
        ("after", "What the last page gave as `next`; by member also any member."),
        ("min", "By score: only this score or more, a number or -inf."),
        ("max", "By score: only this score or less, a number or +inf."),
        ("desc", "By score: `true` begins with the highest."),
        ("prefix", "By member: only members that begin so."),
    ];
    all.map(|(name, help)| query(name, help)).into()
}

fn query(name: &str, help: &str) -> Parameter {
    parameter(name, ParameterIn::Query, help)
}

fn parameter(name: &str, place: ParameterIn, help: &str) -> Parameter {
    let required = match place {
        ParameterIn::Path => Required::True,
        _ => Required::False,
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(help))
        .schema(Some(schemas::text()))
        .build()
}

fn segment_help(name: &str) -> &'static str {
    match name {
        "bucket" => "1 to 64 of letters, digits, '.', '_' and '-', not beginning with '_'.",
        "key" => "1 to 1,024 bytes of any kind, percent-encoded.",
        "member" => "1 to 1,024 bytes of any kind, percent-encoded.",
        "idempotency_key" => "The key, percent-encoded.",
        _ => "A type, as counter or rwset, also in the plural.",
    }
}

fn data_help(name: &str) -> &'static str {
    match name {
        "r" => "Replicas that answer a read: 1 to N, one, quorum, all.",
        "w" => "Replicas that acknowledge a write: 1 to N, one, quorum, all.",
        "pr" => "Owners that answer a read: 1 to N, one, quorum, all.",
        "pw" => "Owners that acknowledge a write: 1 to N, one, quorum, all.",
        "zones" => "Distinct zones among the replicas that acknowledge a write.",
        "durable" => "Replicas that have a write on disk: none, one, quorum, all.",
        "ttl_seconds" => "Seconds after which the object is absent, 1 to ten years.",
        "persist" => "`true`: the object does not expire.",
        "timeout_ms" => "Milliseconds until the request is given up, 1 to 60,000.",
        _ => "Milliseconds by which a read may be stale; reads are always fresh.",
    }
}

fn request_body(call: Call) -> Option<RequestBody> {
    let (content_type, schema, required) = match call {
        Call::KvPut => (ANY, schemas::bytes(), Required::False),
        Call::CounterPost => (JSON, reference("CounterUpdate"), Required::True),
        Call::SetPost | Call::RwSetPost => (JSON, reference("SetUpdate"), Required::True),
        Call::FlagPost | Call::DwFlagPost => (JSON, reference("FlagUpdate"), Required::True),
        Call::MapPost => (JSON, reference("MapUpdate"), Required::True),
        Call::BoundedPost => (JSON, reference("BoundedCounterUpdate"), Required::True),
        Call::HllPost => (JSON, reference("HllUpdate"), Required::True),
        Call::ExpiryPut => (JSON, reference("ExpiryUpdate"), Required::True),
        Call::ZsetPost => (JSON, reference("ZsetUpdate"), Required::True),
        Call::BucketPut => (JSON, reference("Bucket"), Required::True),
        Call::ClusterApply => (JSON, reference("ClusterApply"), Required::False),
        _ => return None,
    };
    let content = Content::new(Some(schema));
    Some(RequestBodyBuilder::new().content(content_type, content).required(Some(required)).build())
}

fn successes(call: Call) -> Vec<(&'static str, Response)> {
    let ok = |name| vec![("200", response("Done.", JSON, reference(name)))];
    match call {
        Call::KvGet => vec![
            ("200", response("The value as it was written.", ANY, schemas::bytes())),
            ("300", response("Several siblings.", JSON, reference("Siblings"))),
        ],
        Call::KvPut | Call::SetPost | Call::RwSetPost | Call::HllPost => ok("Written"),
        Call::KvDelete | Call::CounterDelete | Call::SetDelete | Call::FlagDelete => ok("Written"),
        Call::RwSetDelete | Call::DwFlagDelete | Call::HllDelete => ok("Written"),
        Call::ExpiryGet => ok("Expiry"),
        Call::ExpiryPut => ok("ExpiryWritten"),
        Call::BoundedGet => ok("Counter"),
        Call::BoundedPost => ok("CounterWritten"),
        Call::BoundedDelete => Vec::new(),
        Call::HllGet => ok("Hll"),
        Call::MapGet => ok("MapPage"),
        Call::MapPost | Call::MapDelete => ok("Written"),
        Call::ZsetGet => ok("ZsetPage"),
        Call::ZsetMember => ok("ZsetMember"),
        Call::ZsetPost | Call::ZsetDelete => ok("Written"),
        Call::CounterGet => ok("Counter"),
        Call::CounterPost => ok("CounterWritten"),
        Call::SetGet | Call::RwSetGet => ok("SetPage"),
        Call::SetMember | Call::RwSetMember => ok("SetMember"),
        Call::FlagGet | Call::DwFlagGet => ok("Flag"),
        Call::FlagPost | Call::DwFlagPost => ok("FlagWritten"),
        Call::BucketGet | Call::BucketPut | Call::BucketDelete => ok("Bucket"),
        Call::Explain => ok("Explained"),
        Call::Ops => ok("Operation"),
        Call::Cluster | Call::ClusterApply => ok("Cluster"),
        Call::Healthz => ok("Health"),
        Call::Readyz => ok("Readiness"),
        Call::Metrics => vec![("200", response("The metrics.", "text/plain", schemas::text()))],
        Call::OpenApi => vec![("200", response("This document.", JSON, schemas::anything()))],
        Call::Console => vec![("200", response("The page.", "text/html", schemas::text()))],
    }
}

fn response(help: &str, content_type: &str, schema: RefOr<Schema>) -> Response {
    let content = Content::new(Some(schema));
    ResponseBuilder::new().description(help).content(content_type, content).build()
}

fn problem() -> Response {
    let codes: Vec<_> =
        Code::TABLE.iter().map(|(code, status, _)| format!("{status} `{code}`")).collect();
    let help = format!("A problem document. Codes: {}.", codes.join(", "));
    response(&help, PROBLEM, reference("Problem"))
}

fn reference(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_document_describes_exactly_the_routes_there_are() {
        let document = serde_json::to_value(document()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut described = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                described.push((path.clone(), method.to_uppercase()));
                assert!(operation["responses"]["default"].is_object(), "{method} {path}");
            }
        }
        let mut routed: Vec<_> =
            ROUTES.iter().map(|route| (route.path.to_owned(), route.method.to_owned())).collect();
        described.sort();
        routed.sort();
        assert_eq!(described, routed);
    }

    #[test]
    fn every_reference_has_its_schema() {
        let document = serde_json::to_value(document()).unwrap();
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > ROUTES.len());
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    fn collect(value: &Value, references: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    references.push(reference.clone());
                }
                fields.values().for_each(|field| collect(field, references));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
            _ => {}
        }
    }
}
