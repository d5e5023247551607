//! Which call a request is: one table of method and path, and a matcher over it.
//!
//! The table is all there is: the OpenAPI document, the labels of metrics and the `Allow` header
//! come from it. What later versions add is known by name and answered `501`.

use super::params;
use super::problem::{Code, Problem};
use hyper::Method;
use matchit::Router;
use std::sync::LazyLock;

macro_rules! routes {
    ($($call:ident $method:literal $path:literal $name:literal $summary:literal;)*) => {
        /// A call of the interface.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Call { $(#[doc = $summary] $call,)* }

        /// Every call there is, in the order of [`Call`].
        pub const ROUTES: &[Route] = &[$(Route {
            call: Call::$call,
            method: $method,
            path: $path,
            name: $name,
            summary: $summary,
        },)*];
    };
}

/// One row of the table.
#[derive(Debug)]
pub struct Route {
    /// What handles it.
    pub call: Call,
    /// Its method; `HEAD` goes wherever `GET` does.
    pub method: &'static str,
    /// Its path, parameters in braces.
    pub path: &'static str,
    /// Its name in metrics and its operation id in OpenAPI.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
}

routes! {
    KvGet "GET" "/v1/kv/{bucket}/{key}" "kv_get" "Read a value, or its siblings.";
    KvPut "PUT" "/v1/kv/{bucket}/{key}" "kv_put" "Write a value.";
    KvDelete "DELETE" "/v1/kv/{bucket}/{key}" "kv_delete" "Remove a value as far as observed.";
    CounterGet "GET" "/v1/counters/{bucket}/{key}" "counter_get" "Read a counter.";
    CounterPost "POST" "/v1/counters/{bucket}/{key}" "counter_update" "Increment, decrement or reset a counter.";
    CounterDelete "DELETE" "/v1/counters/{bucket}/{key}" "counter_delete" "Remove a counter as far as observed.";
    SetGet "GET" "/v1/sets/{bucket}/{key}" "set_get" "Read a page of a set's members.";
    SetPost "POST" "/v1/sets/{bucket}/{key}" "set_update" "Add and remove members.";
    SetDelete "DELETE" "/v1/sets/{bucket}/{key}" "set_delete" "Remove a set as far as observed.";
    SetMember "GET" "/v1/sets/{bucket}/{key}/{member}" "set_member" "Ask whether something is a member.";
    FlagGet "GET" "/v1/flags/{bucket}/{key}" "flag_get" "Read a flag.";
    FlagPost "POST" "/v1/flags/{bucket}/{key}" "flag_update" "Enable or disable a flag.";
    FlagDelete "DELETE" "/v1/flags/{bucket}/{key}" "flag_delete" "Remove a flag as far as observed.";
    RwSetGet "GET" "/v1/rwsets/{bucket}/{key}" "rwset_get" "Read a page of a remove-wins set's members.";
    RwSetPost "POST" "/v1/rwsets/{bucket}/{key}" "rwset_update" "Add and remove members; a removal wins.";
    RwSetDelete "DELETE" "/v1/rwsets/{bucket}/{key}" "rwset_delete" "Remove a remove-wins set as far as observed.";
    RwSetMember "GET" "/v1/rwsets/{bucket}/{key}/{member}" "rwset_member" "Ask whether something is a member.";
    DwFlagGet "GET" "/v1/dwflags/{bucket}/{key}" "dwflag_get" "Read a disable-wins flag.";
    DwFlagPost "POST" "/v1/dwflags/{bucket}/{key}" "dwflag_update" "Enable or disable a flag; disable wins.";
    DwFlagDelete "DELETE" "/v1/dwflags/{bucket}/{key}" "dwflag_delete" "Remove a disable-wins flag as far as observed.";
    HllGet "GET" "/v1/hlls/{bucket}/{key}" "hll_get" "Estimate how many distinct elements were added.";
    HllPost "POST" "/v1/hlls/{bucket}/{key}" "hll_update" "Count elements.";
    HllDelete "DELETE" "/v1/hlls/{bucket}/{key}" "hll_delete" "Remove a sketch as far as observed.";
    MapGet "GET" "/v1/maps/{bucket}/{key}" "map_get" "Read a page of a map's fields.";
    MapPost "POST" "/v1/maps/{bucket}/{key}" "map_update" "Change and remove fields, all at once.";
    MapDelete "DELETE" "/v1/maps/{bucket}/{key}" "map_delete" "Remove a map as far as observed.";
    BoundedGet "GET" "/v1/boundedcounters/{bucket}/{key}" "boundedcounter_get" "Read a bounded counter.";
    BoundedPost "POST" "/v1/boundedcounters/{bucket}/{key}" "boundedcounter_update" "Increment, or decrement by rights; never below 0.";
    BoundedDelete "DELETE" "/v1/boundedcounters/{bucket}/{key}" "boundedcounter_delete" "Refused: removal would break the bound.";
    ZsetGet "GET" "/v1/zsets/{bucket}/{key}" "zset_get" "Read a page of a sorted set, by score or by member.";
    ZsetPost "POST" "/v1/zsets/{bucket}/{key}" "zset_update" "Set scores, add to scores and remove members.";
    ZsetDelete "DELETE" "/v1/zsets/{bucket}/{key}" "zset_delete" "Remove a sorted set as far as observed.";
    ZsetMember "GET" "/v1/zsets/{bucket}/{key}/{member}" "zset_member" "Read a member's score.";
    BucketGet "GET" "/v1/buckets/{bucket}" "bucket_get" "Read a bucket's properties in force.";
    BucketPut "PUT" "/v1/buckets/{bucket}" "bucket_put" "Set a bucket's properties; those left out get their default.";
    BucketDelete "DELETE" "/v1/buckets/{bucket}" "bucket_delete" "Set a bucket's properties back to the defaults.";
    Ops "GET" "/v1/ops/{idempotency_key}" "ops_get" "What became of a change with a key.";
    Explain "GET" "/v1/explain/{type}/{bucket}/{key}" "explain" "Every replica's view of one object, and why its value is what it is.";
    ExpiryGet "GET" "/v1/expiry/{type}/{bucket}/{key}" "expiry_get" "Read when an object expires.";
    ExpiryPut "PUT" "/v1/expiry/{type}/{bucket}/{key}" "expiry_put" "Extend or shorten an object's time to live, or take it away.";
    Cluster "GET" "/v1/cluster" "cluster_get" "Members, liveness and the layout as this node sees them.";
    ClusterApply "POST" "/v1/cluster/apply" "cluster_apply" "Form the first layout from the members alive now.";
    Healthz "GET" "/healthz" "healthz" "Whether the process is alive.";
    Readyz "GET" "/readyz" "readyz" "Whether this node serves clients.";
    Metrics "GET" "/metrics" "metrics" "Metrics in the text format of Prometheus.";
    OpenApi "GET" "/openapi.json" "openapi" "This interface as OpenAPI 3.1.";
    Console "GET" "/" "console" "A page for people.";
}

/// Paths that later versions of the interface have, by their first segments after `/v1/`.
const LATER: &[&str] = &[
    "batch",
    "scan",
    "query",
    "watch",
    "cluster/plan",
    "cluster/join",
    "cluster/leave",
    "cluster/replace",
    "cluster/weights",
    "cluster/sync-point",
];

/// Calls by path.
static MATCHER: LazyLock<Router<Vec<&'static Route>>> = LazyLock::new(|| {
    let mut paths: Vec<(&str, Vec<&Route>)> = Vec::new();
    for route in ROUTES {
        match paths.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, calls)) => calls.push(route),
            None => paths.push((route.path, vec![route])),
        }
    }
    let mut router = Router::new();
    for (path, calls) in paths {
        router.insert(path, calls).expect("the table holds no two paths that conflict");
    }
    router
});

/// A request's call with its path parameters, still encoded.
#[derive(Debug)]
pub struct Found<'p> {
    /// The row of the table.
    pub route: &'static Route,
    params: matchit::Params<'static, 'p>,
}

impl Found<'_> {
    /// A path parameter of the route's path.
    pub fn param(&self, name: &str) -> &str {
        self.params.get(name).expect("handlers ask for parameters of their own path")
    }
}

/// The call that `method` on `path` is.
///
/// # Errors
/// `unknown_route`, `unknown_type`, `not_supported`, `method_not_allowed`.
pub fn find<'p>(method: &Method, path: &'p str) -> Result<Found<'p>, Problem> {
    let Ok(matched) = MATCHER.at(path) else { return Err(unmatched(path)) };
    let wanted = if method == Method::HEAD { "GET" } else { method.as_str() };
    match matched.value.iter().find(|route| route.method == wanted) {
        Some(route) => Ok(Found { route, params: matched.params }),
        None => {
            let mut allowed: Vec<_> = matched.value.iter().map(|route| route.method).collect();
            if allowed.contains(&"GET") {
                allowed.push("HEAD");
            }
            Err(Problem::method_not_allowed(method.as_str(), &allowed.join(", ")))
        }
    }
}

fn unmatched(path: &str) -> Problem {
    let rest = path.strip_prefix("/v1/").unwrap_or_default();
    let begins = |later: &&str| {
        rest.strip_prefix(*later).is_some_and(|tail| tail.is_empty() || tail.starts_with('/'))
    };
    if let Some(later) = LATER.iter().copied().find(begins) {
        let text = format!("/v1/{later} is not available in this version");
        return Problem::new(Code::NotSupported, text);
    }
    let segments: Vec<&str> = rest.split('/').collect();
    let is_object = matches!(segments.len(), 3 | 4) && segments.iter().all(|part| !part.is_empty());
    let known = [
        "kv",
        "counters",
        "sets",
        "flags",
        "rwsets",
        "dwflags",
        "hlls",
        "maps",
        "zsets",
        "boundedcounters",
        "buckets",
        "cluster",
        "explain",
        "expiry",
        "ops",
    ];
    if segments.len() == 4 && segments[0] == "buckets" && segments[2] == "indexes" {
        return Problem::new(Code::NotSupported, "indexes are not available in this version");
    }
    if is_object && !known.contains(&segments[0]) {
        return params::unknown_type(segments[0]);
    }
    Problem::new(Code::UnknownRoute, format!("nothing is at {path}; see /openapi.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_own_path_and_the_table_is_in_order() {
        for (at, route) in ROUTES.iter().enumerate() {
            assert_eq!(route.call as usize, at);
            let method = Method::from_bytes(route.method.as_bytes()).unwrap();
            assert_eq!(find(&method, route.path).unwrap().route.call, route.call);
        }
    }

    #[test]
    fn an_encoded_slash_stays_inside_its_segment() {
        let found = find(&Method::GET, "/v1/kv/b/a%2Fb").unwrap();
        assert_eq!(found.param("key"), "a%2Fb");
    }

    #[test]
    fn what_does_not_match_says_why() {
        let code = |method, path| find(&method, path).unwrap_err().code;
        assert_eq!(code(Method::GET, "/v1/nonsense"), Code::UnknownRoute);
        assert_eq!(code(Method::GET, "/v1/kv/b"), Code::UnknownRoute);
        assert_eq!(code(Method::GET, "/v1/kv/b/k/"), Code::UnknownRoute);
        assert_eq!(code(Method::GET, "/v1/lists/b/k"), Code::UnknownType);
        assert_eq!(code(Method::GET, "/v1/counter/b/k"), Code::UnknownType);
        assert_eq!(code(Method::POST, "/v1/kv/b/k"), Code::MethodNotAllowed);
        assert_eq!(code(Method::POST, "/v1/batch"), Code::NotSupported);
        assert_eq!(code(Method::GET, "/v1/scan/kv/b"), Code::NotSupported);
        assert_eq!(code(Method::POST, "/v1/cluster/plan"), Code::NotSupported);
        assert_eq!(code(Method::POST, "/v1/cluster/nonsense"), Code::UnknownRoute);
    }
}
