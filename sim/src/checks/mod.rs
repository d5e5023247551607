//! What must hold, one promise a file, each quoting it. Checks judge what clients were told and
//! what the stores hold; they never ask the core whether it did right.

pub mod acked_writes_survive;
pub mod bounded_memory;
pub mod counters_exact;
pub mod damage_is_mended;
pub mod expired_stays_gone;
pub mod hints_drain;
pub mod maps_kept;
pub mod never_below_zero;
pub mod nothing_invented;
pub mod ownership_is_fixed;
pub mod quorum_counted;
pub mod reads_agree;
pub mod reads_counted;
pub mod removed_stays_removed;
pub mod replicas_equal;
pub mod scores_exact;
pub mod sketches_exact;
pub mod views_agree;

use crate::history::{History, Record};
use crate::leaves;
use crate::node::Node;
use serde::{Deserialize, Serialize};
use starling_node::crdt::{
    CausalContext, Dot, KvOp, MapOp, Object, ObjectId, ObjectOp, Observed, SetOp,
};
use starling_node::placement::{Layout, partition_of};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Violations of one check kept of one run; all are counted.
const KEPT_MAX: usize = 3;

/// Seconds about an object's instant in which clocks that drift are not of one mind.
const GOING_S: u64 = 2;

/// Replicas of each object of the workload's main bucket, which has the default properties.
pub const N: u8 = 3;

/// A broken promise.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Violation {
    /// The check's name.
    pub check: String,
    /// What was found.
    pub detail: String,
}

/// What checks found, and how much they looked at.
#[derive(Default)]
pub struct Findings {
    /// The first ones of each check.
    pub violations: Vec<Violation>,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// By check, all broken promises, also those not kept.
    pub broken: BTreeMap<String, u64>,
}

impl Findings {
    /// Adds a broken promise.
    pub fn violation(&mut self, check: &str, detail: String) {
        self.count("violations", 1);
        *self.broken.entry(check.into()).or_default() += 1;
        let same = self.violations.iter().filter(|kept| kept.check == check);
        if same.count() < KEPT_MAX {
            self.violations.push(Violation { check: check.into(), detail });
        }
    }

    /// Counts something that happened or was looked at.
    pub fn count(&mut self, what: &'static str, times: u64) {
        *self.counts.entry(what).or_default() += times;
    }
}

/// What one owner holds of an object in the end.
pub struct Copy {
    /// Its name.
    pub owner: String,
    /// Its state, empty if it has none.
    pub state: Object,
}

/// Time at the end of a run.
#[derive(Clone, Copy)]
pub struct Clocks {
    /// True time, microseconds.
    pub now_us: u64,
    /// How far faults moved any wall clock at most, ms.
    pub skew_max_ms: u64,
}

/// What the end of a run shows.
pub struct Evidence<'a> {
    /// What clients asked for and were told.
    pub history: &'a History,
    /// The machines.
    pub nodes: &'a [Node],
    /// What each owner holds of each object that anyone asked for or holds; nothing of what has
    /// expired.
    pub owned: BTreeMap<ObjectId, Vec<Copy>>,
    /// The layout that the cluster formed.
    pub formed: Option<Arc<Layout>>,
    /// The time.
    pub clocks: Clocks,
}

impl<'a> Evidence<'a> {
    /// Reads all stores.
    pub fn new(
        history: &'a History,
        nodes: &'a [Node],
        formed: Option<Arc<Layout>>,
        clocks: Clocks,
    ) -> Self {
        let audits: Vec<_> = nodes.iter().map(|node| node.audit().unwrap_or_default()).collect();
        let mut ids: BTreeSet<ObjectId> =
            history.records.iter().map(|record| record.intent.object.clone()).collect();
        ids.extend(audits.iter().flat_map(BTreeMap::keys).cloned());
        let mut owned = BTreeMap::new();
        if let Some(layout) = layout_of(nodes) {
            for id in ids {
                let copy = |at: usize| Copy {
                    owner: nodes[at].to_string(),
                    state: audits[at]
                        .get(&id)
                        .filter(|audit| !is_gone(&audit.object, &nodes[at], clocks.now_us))
                        .map_or_else(|| Object::empty(id.tag), |audit| audit.object.clone()),
                };
                let copies = owners(&layout, nodes, &id).into_iter().map(copy).collect();
                owned.insert(id, copies);
            }
        }
        Evidence { history, nodes, owned, formed, clocks }
    }
}

/// Whether what the node holds has expired by its own clock, or is what was left of it when the
/// clock was ahead.
fn is_gone(held: &Object, node: &Node, now_us: u64) -> bool {
    let left = !held.is_present() && held.expires_at().is_some();
    left || held.is_expired(node.bucket(now_us))
}

/// Whether replicas may see the object go one after the other just now.
fn is_going(held: &Object, node: &Node, now_us: u64) -> bool {
    let near = |at: u64| at.abs_diff(node.bucket(now_us)) <= GOING_S;
    held.expires_at().is_some_and(near)
}

/// The layout of the first node that has one: they all have the same in the end.
pub fn layout_of(nodes: &[Node]) -> Option<Arc<Layout>> {
    nodes.iter().find_map(|node| node.layout().cloned())
}

/// The places of the object's owners.
pub fn owners(layout: &Layout, nodes: &[Node], object: &ObjectId) -> Vec<usize> {
    let n = nodes.iter().find_map(|node| node.n_of(&object.bucket)).unwrap_or(N);
    owners_of_n(layout, nodes, object, n)
}

/// The places of the object's owners in the eyes of whoever knows of that replication factor.
pub fn owners_of_n(layout: &Layout, nodes: &[Node], object: &ObjectId, n: u8) -> Vec<usize> {
    let list = layout.preference(partition_of(object), n);
    let place = |id| nodes.iter().position(|node| node.id() == id);
    list.owners().iter().filter_map(|id| place(*id)).collect()
}

/// Runs every check of the end.
pub fn all(evidence: &Evidence<'_>, findings: &mut Findings) {
    counts(evidence.history, findings);
    hints_drain::check(evidence, findings);
    ownership_is_fixed::check(evidence, findings);
    damage_is_mended::check(evidence, findings);
    replicas_equal::check(evidence, findings);
    acked_writes_survive::check(evidence, findings);
    removed_stays_removed::check(evidence, findings);
    maps_kept::check(evidence, findings);
    counters_exact::check(evidence, findings);
    scores_exact::check(evidence, findings);
    sketches_exact::check(evidence, findings);
    expired_stays_gone::check(evidence, findings);
    nothing_invented::check(evidence, findings);
    never_below_zero::check(evidence, findings);
}

fn counts(history: &History, findings: &mut Findings) {
    use crate::history::{Action, Outcome};
    for record in &history.records {
        let read = matches!(record.intent.action, Action::Read(_));
        let what = match (&record.outcome, read) {
            (Outcome::Written(_), _) => "writes_acknowledged",
            (Outcome::Read(_), _) => "reads_answered",
            (Outcome::Unknown, false) => "writes_unknown",
            (Outcome::Unknown, true) => "reads_unknown",
            (Outcome::Unanswered, _) => "operations_unanswered",
            (Outcome::NotApplied(_), false) => "writes_not_applied",
            (Outcome::NotApplied(_), true) => "reads_refused",
        };
        findings.count(what, 1);
    }
}

/// Whether `remover`, which covers what `observed` says, can have covered `write`, of which the
/// client was told that the replica that applied it had then seen `seen`. Only a certain no is a
/// no: everything that cannot be known counts as yes.
fn may_cover(remover: &Record, observed: &Observed, write: &Record) -> bool {
    let newest = write.durable_write().map(|(op, written)| minted(op, &written.said));
    match observed {
        Observed::Nothing => false,
        Observed::Context(seen) => {
            newest.is_none_or(|dots| dots.iter().any(|dot| seen.dots.contains(*dot)))
        }
        Observed::Here => {
            // It covered what the applying replica held, all of which its own answer names; a
            // removal of the whole also what was read of others, which waits where it is not known.
            let reads_first = remover.possible_write().is_some_and(|op| {
                matches!(
                    op,
                    ObjectOp::Kv(KvOp::Delete { .. })
                        | ObjectOp::Set(SetOp::Delete { .. })
                        | ObjectOp::Map(MapOp::Delete { .. })
                )
            });
            let told = remover.durable_write().map(|(_, written)| &written.seen.dots);
            let may_name = match (told, newest) {
                (Some(told), Some(dots)) => dots.iter().any(|dot| told.contains(*dot)),
                _ => true,
            };
            remover.may_act_at(write.invoked_us) && (may_name || reads_first)
        }
    }
}

/// Dots that an acknowledged write may have made, one for each element, of those that it speaks
/// of: the newest ones of each actor. One of them is the actor that applied it.
fn minted(op: &ObjectOp, said: &CausalContext) -> Vec<Dot> {
    let elements = match op {
        ObjectOp::Set(SetOp::Update { add, .. }) => add.len() as u64,
        op @ ObjectOp::Map(_) => leaves::effect(op).map_or(1, |effect| effect.leaves),
        _ => 1,
    };
    let newest = |actor| {
        let highest = said.highest(actor);
        (highest.saturating_sub(elements)..highest)
            .map(move |below| Dot { actor, counter: below + 1 })
    };
    said.iter().flat_map(|(actor, _)| newest(actor)).filter(|dot| said.contains(*dot)).collect()
}
