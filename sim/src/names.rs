//! Short names of what happens, for the trace.

use crate::faults::{Conditions, Machine};
use crate::history::{Action, Intent, Outcome};
use crate::network::Link;
use starling_node::cluster::MembershipView;
use starling_node::crdt::{BoundedOp, CounterOp, FlagOp, KvOp, ObjectOp, Observed, OpError, SetOp};
use starling_node::wire::api::{Failure, Reply};
use starling_node::wire::peer::{PeerBody, Refusal, Settle};

/// A message by its kind, operation and object.
pub fn body(body: &PeerBody) -> String {
    match body {
        PeerBody::Apply { op, object, hint_for, .. } => {
            format!("Apply {:x} {object} for {hint_for:?}", op.0)
        }
        PeerBody::Applied { op, outcome } => {
            let how = outcome.as_ref().map(|applied| applied.settled);
            format!("Applied {:x} settled {how:?}", op.0)
        }
        PeerBody::AppliedDurable { op } => format!("AppliedDurable {:x}", op.0),
        PeerBody::Join { op, object, hint_for, .. } => {
            format!("Join {:x} {object} for {hint_for:?}", op.0)
        }
        PeerBody::Joined { op, outcome } => format!("Joined {:x} {outcome:?}", op.0),
        PeerBody::Get { op, object, digest_only, .. } => {
            format!("Get {:x} {object} digest {digest_only}", op.0)
        }
        PeerBody::Got { op, outcome } => match outcome {
            Ok(answer) => format!("Got {:x} digest {:016x}", op.0, answer.digest),
            Err(refusal) => format!("Got {:x} {refusal:?}", op.0),
        },
        PeerBody::Inspect { op, object } => format!("Inspect {:x} {object}", op.0),
        PeerBody::Inspected { op, .. } => format!("Inspected {:x}", op.0),
        PeerBody::Handoff { batch, items } => format!("Handoff {batch} of {}", items.len()),
        PeerBody::HandoffDone { batch } => format!("HandoffDone {batch}"),
        PeerBody::Repair { object, .. } => format!("Repair {object}"),
        PeerBody::PullRows { object, .. } => format!("PullRows {object}"),
        PeerBody::PullFrom { object, peer } => format!("PullFrom {object} {peer}"),
        PeerBody::Rows { object, next, .. } => format!("Rows {object} more {}", next.is_some()),
        PeerBody::Roots(roots) => format!("Roots of {}", roots.len()),
        PeerBody::Leaves { partition, .. } => format!("Leaves {partition}"),
        PeerBody::Objects { partition, objects, .. } => {
            format!("Objects {partition} of {}", objects.len())
        }
        PeerBody::Pull(objects) => format!("Pull of {}", objects.len()),
        PeerBody::Settle { partition, what, .. } => match what {
            Settle::Ask { stable, .. } => format!("Settle {partition}: ask of {}", stable.len()),
            Settle::Agree { .. } => format!("Settle {partition}: agree"),
            Settle::Done { .. } => format!("Settle {partition}: done"),
            Settle::Forgotten { object, .. } => format!("Settle {partition}: forgot {object}"),
            Settle::Known { stable, .. } => {
                format!("Settle {partition}: known {}", stable.most().len())
            }
        },
        PeerBody::Summary(summary) => format!("Summary {summary:016x}"),
        PeerBody::Lacks(objects) => format!("Lacks {}", objects.len()),
        PeerBody::RightsWanted { object, to, have, amount } => {
            format!("RightsWanted {object} {amount} to {have} of {to}")
        }
        PeerBody::RightsGiven { object, .. } => format!("RightsGiven {object}"),
        PeerBody::Unheard(ops) => format!("Unheard of {}", ops.len()),
        PeerBody::Owed(ops) => format!("Owed of {}", ops.len()),
        PeerBody::LayoutIs(layout) => format!("LayoutIs {}", layout.is_some()),
    }
}

/// What a client wants.
pub fn intent(intent: &Intent) -> String {
    let what = match &intent.action {
        Action::Read(query) => format!("read {query:?}"),
        Action::Write(op) => operation(op),
    };
    let options = &intent.options;
    let mut how = String::new();
    let quorums = [("r", options.r), ("w", options.w), ("pr", options.pr), ("pw", options.pw)];
    for (name, value) in quorums {
        if let Some(value) = value {
            how.push_str(&format!(" {name}={value:?}"));
        }
    }
    if let Some(ttl) = options.ttl {
        how.push_str(&format!(" ttl={ttl:?}"));
    }
    format!(
        "{} {what}{how} zones={:?} durable={:?} timeout={:?}",
        intent.object, options.zones, options.durable, options.timeout_ms
    )
}

fn operation(op: &ObjectOp) -> String {
    match op {
        ObjectOp::Kv(KvOp::Put { value, observed: seen, .. }) => {
            let value = String::from_utf8_lossy(value);
            format!("put {} over {}", value.trim_end_matches('.'), observed(seen))
        }
        ObjectOp::Bounded(BoundedOp::Add { amount }) => format!("add {amount}"),
        ObjectOp::Counter(CounterOp::Add { amount, .. }) => format!("add {amount}"),
        ObjectOp::Counter(CounterOp::Reset { observed: seen, .. }) => {
            format!("reset {}", observed(seen))
        }
        ObjectOp::Set(SetOp::Update { add, remove, observed: seen }) => {
            let names = |members: &std::collections::BTreeSet<Vec<u8>>| {
                let names: Vec<_> =
                    members.iter().map(|member| String::from_utf8_lossy(member)).collect();
                names.join(",")
            };
            format!("add [{}] remove [{}] of {}", names(add), names(remove), observed(seen))
        }
        ObjectOp::Flag(FlagOp::Set { enabled, observed: seen }) => {
            format!("switch {enabled} over {}", observed(seen))
        }
        ObjectOp::Kv(KvOp::Delete { observed: seen })
        | ObjectOp::Counter(CounterOp::Delete { observed: seen })
        | ObjectOp::Set(SetOp::Delete { observed: seen })
        | ObjectOp::Flag(FlagOp::Delete { observed: seen }) => format!("delete {}", observed(seen)),
        other => format!("{other:?}"),
    }
}

fn observed(observed: &Observed) -> String {
    match observed {
        Observed::Here => "what is here".into(),
        Observed::Nothing => "nothing".into(),
        Observed::Context(seen) => format!("{:?}", seen.dots),
    }
}

/// What a client was told.
pub fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Unanswered => "nothing".into(),
        Outcome::Unknown => "unknown".into(),
        Outcome::NotApplied(failure) => format!("not applied: {failure}"),
        Outcome::Written(written) => {
            let acks = &written.acks;
            let counts = (acks.owners, acks.hints, acks.durable);
            format!("written, (owners, hints, durable) {counts:?}, seen {:?}", written.seen.dots)
        }
        Outcome::Read(read) => {
            let counts = (read.asked, read.answered, read.repaired);
            format!(
                "read, present {}, count {}, (asked, answered, repaired) {counts:?}, {:?}",
                read.present, read.count, read.object
            )
        }
    }
}

/// Members with what the failure detector says.
pub fn members(view: &MembershipView) -> String {
    let names: Vec<_> = view
        .iter()
        .map(|member| {
            let sign = if member.alive { '+' } else { '-' };
            format!("{sign}{}#{}@{}", member.name, member.generation, member.layout)
        })
        .collect();
    names.join(" ")
}

/// What is not fair about the conditions.
pub fn faults(conditions: &Conditions) -> String {
    let mut parts = Vec::new();
    for (from, row) in conditions.links.iter().enumerate() {
        for (to, link) in row.iter().enumerate() {
            parts.extend(unfair(link).map(|what| format!("{from}>{to} {what}")));
        }
    }
    for (node, machine) in conditions.machines.iter().enumerate() {
        if *machine != Machine::default() {
            parts.push(format!("{node} {machine:?}"));
        }
    }
    parts.push(format!("{:?}", conditions.load));
    parts.join("; ")
}

fn unfair(link: &Link) -> Option<String> {
    if link.cut {
        return Some("cut".into());
    }
    (*link != Link::default()).then(|| format!("{link:?}"))
}

/// A name for each kind, and the list of all names: a kind that comes is in both or does not
/// compile.
macro_rules! kinds {
    ($(#[$doc:meta])* fn $name:ident($of:ty), $all:ident {
        $($kind:pat => $text:literal,)+
    }) => {
        $(#[$doc])*
        pub fn $name(of: &$of) -> &'static str {
            match of {
                $($kind => $text,)+
            }
        }

        /// All of those names.
        pub const $all: &[&str] = &[$($text),+];
    };
}

kinds! {
    /// A failure by its kind, as it is counted.
    fn failure(Failure), FAILURES {
        Failure::Unavailable(_) => "failures_unavailable",
        Failure::Unknown(_) => "failures_unknown",
        Failure::BadParameter { .. } => "failures_bad_parameter",
        Failure::Refused(_) => "failures_refused",
        Failure::Overloaded => "failures_overloaded",
        Failure::DiskFull => "failures_disk_full",
        Failure::Corrupt(_) => "failures_corrupt",
        Failure::Conflict(_) => "failures_conflict",
    }
}

kinds! {
    /// A refusal by its kind, as it is counted.
    fn refusal(Refusal), REFUSALS {
        Refusal::Op(_) => "refusals_op",
        Refusal::DiskFull => "refusals_disk_full",
        Refusal::Corrupt(_) => "refusals_corrupt",
        Refusal::Failed(_) => "refusals_failed",
        Refusal::HintsFull => "refusals_hints_full",
        Refusal::Misdirected => "refusals_misdirected",
        Refusal::Stale => "refusals_stale",
    }
}

/// An answer about the cluster.
pub fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Cluster(status) => format!("cluster, ready {}", status.ready),
        Reply::Bucket(props) => format!("bucket {props:?}"),
        Reply::Explained { .. } => "an explanation".into(),
        Reply::Failed(failure) => format!("failed: {failure}"),
        Reply::Written(_) | Reply::Read(_) => "data".into(),
    }
}

kinds! {
    /// What a type said against an operation, as it is counted.
    fn op_error(OpError), OP_ERRORS {
        OpError::CounterOverflow => "op_errors_counter_overflow",
        OpError::TooManySiblings { .. } => "op_errors_too_many_siblings",
        OpError::TooManyDeferred { .. } => "op_errors_too_many_deferred",
        OpError::WrongType => "op_errors_wrong_type",
        OpError::TooManyTotals { .. } => "op_errors_too_many_totals",
        OpError::WrongKind { .. } => "op_errors_wrong_kind",
        OpError::TooDeep { .. } => "op_errors_too_deep",
        OpError::ScoreOverflow { .. } => "op_errors_score_overflow",
        OpError::InsufficientRights { .. } => "op_errors_insufficient_rights",
        OpError::Absent => "op_errors_absent",
        OpError::Unsupported(_) => "op_errors_unsupported",
        OpError::KeyReused => "op_errors_key_reused",
    }
}
