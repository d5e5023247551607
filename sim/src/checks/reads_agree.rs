//! What clients read is what replicas hold: after healing, a read from all owners answers, finds
//! nothing to repair, and shows what each of them has.

use super::{Findings, is_going, is_gone, layout_of, owners};
use crate::node::Node;
use starling_node::crdt::{DeltaType, Object, ObjectId};
use starling_node::wire::api::{Options, Quorum, ReadQuery, Reply};

const NAME: &str = "reads_agree";
/// Members read back of a set.
const PAGE: u32 = 1_000;

/// How the object is read whole.
pub fn query(object: &ObjectId) -> ReadQuery {
    match object.tag {
        tag if tag.has_rows() => ReadQuery::Page { after: None, prefix: Vec::new(), limit: PAGE },
        _ => ReadQuery::Whole,
    }
}

/// From all owners.
pub fn options() -> Options {
    Options { r: Some(Quorum::All), pr: Some(Quorum::All), ..Options::default() }
}

/// Compares the answer with what the owners hold.
pub fn check(
    object: &ObjectId,
    reply: Option<&Reply>,
    nodes: &[Node],
    now_us: u64,
    findings: &mut Findings,
) {
    findings.count("objects_read_back", 1);
    let Some(Reply::Read(read)) = reply else {
        findings.violation(NAME, format!("{object} was answered with {reply:?}"));
        return;
    };
    let shown = value(&read.object);
    let Some(layout) = layout_of(nodes) else { return };
    for at in owners(&layout, nodes, object) {
        let held = nodes[at].held(object, false);
        if held.as_ref().is_some_and(|held| is_going(held, &nodes[at], now_us)) {
            return;
        }
        let state = held
            .filter(|held| !is_gone(held, &nodes[at], now_us))
            .unwrap_or_else(|| Object::empty(object.tag));
        let mut held = value(&state);
        held.truncate(PAGE as usize);
        if held != shown || read.present != state.is_present() {
            let node = &nodes[at];
            let detail = format!("{object} reads as {shown:?}, {node} holds {held:?}");
            findings.violation(NAME, detail);
            return;
        }
    }
}

/// What a client sees.
fn value(object: &Object) -> Vec<String> {
    match object {
        Object::Kv(kv) => {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            kv.siblings().map(|(dot, sibling)| format!("{dot} {}", text(&sibling.value))).collect()
        }
        Object::Counter(counter) => vec![counter.total().to_string()],
        Object::Flag(flag) => flag.votes().map(|vote| format!("{vote:?}")).collect(),
        Object::DwFlag(flag) => flag.votes().map(|vote| format!("{vote:?}")).collect(),
        Object::Bounded(counter) => counter.value().iter().map(ToString::to_string).collect(),
        Object::Set(_) | Object::RwSet(_) => {
            let rows = object.rows().expect("a set has rows").present();
            rows.map(|(member, _)| String::from_utf8_lossy(member).into_owned()).collect()
        }
        // Not the rows: what removals observed of totals is forgotten by one owner after the other.
        Object::Map(map) => map.fields().iter().map(|field| format!("{field:?}")).collect(),
        Object::Zset(set) => set.scores().map(|score| format!("{score:?}")).collect(),
        collection => {
            let rows = collection.rows().expect("every other type has rows").present();
            rows.map(|row| format!("{row:?}")).collect()
        }
    }
}
