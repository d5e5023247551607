//! "An acknowledged write is never lost", "a removed element stays removed" and "nothing is
//! silently dropped", for the fields of maps: values of registers and members of sets, each put
//! once, and counters that clients only add to. An update is applied whole: two counters that are
//! always changed together, one of them in a map within, are the same in the end, unless a disk
//! took an update, or one that nobody acknowledged, with it.

use super::{Evidence, Findings, may_cover};
use crate::history::Record;
use crate::leaves::{self, Effect};
use crate::workload::{COUNT, INNER, expires, is_kind};
use starling_node::crdt::map::{Field, FieldOp, Fields};
use starling_node::crdt::{CausalContext, Map, MapOp, Object, ObjectOp, Observed};
use std::ops::RangeInclusive;

const NAME: &str = "maps_kept";

/// An operation that may be in force and what it does.
struct Change<'a> {
    record: &'a Record,
    effect: Effect,
    observed: &'a Observed,
}

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    for (id, copies) in &evidence.owned {
        if expires(id) {
            continue;
        }
        let maps = copies.iter().filter_map(|copy| match &copy.state {
            Object::Map(map) => Some((&copy.owner[..], map)),
            _ => None,
        });
        let maps: Vec<(&str, &Map)> = maps.collect();
        if maps.is_empty() {
            continue;
        }
        let changes: Vec<Change<'_>> = evidence.history.of(id).filter_map(change).collect();
        for (what, certain) in certainties(&changes, findings) {
            for (owner, map) in &maps {
                if leaves::elements(map).contains(&what) != certain {
                    let how = if certain { "lacks" } else { "shows" };
                    let text = leaves::text(&what);
                    findings.violation(NAME, format!("{owner} {how} {text} of {id}"));
                }
            }
        }
        if is_kind(id, "sum") {
            let records: Vec<&Record> = changes.iter().map(|change| change.record).collect();
            let damaged = evidence.nodes.iter().any(|node| node.damaged_us > 0);
            let whole = !damaged || records.iter().all(|record| record.durable_write().is_some());
            for (owner, map) in &maps {
                findings.count("sums_in_maps_bounded", 1);
                if let Err(why) = judge(&map.fields(), added(&records), whole) {
                    findings.violation(NAME, format!("{owner} on {id}: {why}"));
                }
            }
        }
    }
}

fn change(record: &Record) -> Option<Change<'_>> {
    let op = record.possible_write()?;
    Some(Change { record, effect: leaves::effect(op)?, observed: leaves::observed(op)? })
}

/// Elements of which it is certain that they are there, or that they are not.
fn certainties(changes: &[Change<'_>], findings: &mut Findings) -> Vec<(leaves::Element, bool)> {
    let mut certain = Vec::new();
    for put in changes {
        let Some((_, written)) = put.record.durable_write() else { continue };
        for element in &put.effect.puts {
            let others = || changes.iter().filter(|other| !std::ptr::eq(*other, put));
            let covered = others().any(|other| {
                other.effect.may_replace(element)
                    && may_cover(other.record, other.observed, put.record)
            });
            if !covered {
                findings.count("elements_of_maps_that_must_be_there", 1);
                certain.push((element.clone(), true));
                continue;
            }
            let gone = others().any(|other| {
                let observed = saw(other);
                let covers = observed.is_some_and(|dots| written.seen.dots.is_subset(dots));
                covers && other.effect.removes(element)
            });
            if gone {
                findings.count("elements_of_maps_that_must_be_gone", 1);
                certain.push((element.clone(), false));
            }
        }
    }
    certain
}

/// What an acknowledged removal had certainly observed.
fn saw<'a>(change: &Change<'a>) -> Option<&'a CausalContext> {
    change.record.durable_removal()?;
    match change.observed {
        Observed::Context(seen) => Some(&seen.dots),
        Observed::Here | Observed::Nothing => None,
    }
}

/// Least and most that all additions can come to.
fn added(records: &[&Record]) -> RangeInclusive<i64> {
    let (mut least, mut most) = (0, 0);
    for record in records {
        let Some(ObjectOp::Map(MapOp::Update { change, .. })) = record.possible_write() else {
            continue;
        };
        let Some(FieldOp::Counter(amount)) = change.update.get(COUNT) else { continue };
        let certain = record.durable_write().is_some();
        least += if certain { *amount } else { (*amount).min(0) };
        most += if certain { *amount } else { (*amount).max(0) };
    }
    least..=most
}

/// Whether both sums are within the bounds, and the same where every update must be `whole`.
fn judge(fields: &Fields, bounds: RangeInclusive<i64>, whole: bool) -> Result<(), String> {
    let count = |fields: &Fields| match fields.get(COUNT) {
        Some(Field::Counter(sum)) => *sum,
        _ => 0,
    };
    let outer = count(fields);
    let inner = match fields.get(INNER) {
        Some(Field::Map(fields)) => count(fields),
        _ => 0,
    };
    let same = outer == inner || !whole;
    match same && bounds.contains(&outer) && bounds.contains(&inner) {
        true => Ok(()),
        false => Err(format!("sums of {outer} and {inner}, not both in {bounds:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Action, Intent, Outcome};
    use starling_node::crdt::{
        Actor, DeltaType, Dot, Hlc, Mint, NodeId, SeenContext, TypeTag, map,
    };
    use starling_node::wire::api::{Acks, Options, Written};

    fn named(name: &str, op: FieldOp) -> map::Change {
        map::Change { update: [(name.to_string(), op)].into(), ..map::Change::default() }
    }

    fn record(op: MapOp, seen: CausalContext, said: CausalContext) -> Record {
        let written = Written {
            acks: Acks { owners: 3, hints: 0, durable: 3 },
            object: Object::empty(TypeTag::Map),
            seen: SeenContext { dots: seen, ..SeenContext::default() },
            said,
        };
        let intent = Intent {
            object: crate::workload::named(TypeTag::Map, "shared-0"),
            action: Action::Write(ObjectOp::Map(op)),
            options: Options::default(),
            impossible: false,
        };
        Record {
            client: 0,
            node: 0,
            invoked_us: 0,
            done_us: 1,
            intent,
            outcome: Outcome::Written(Box::new(written)),
            lost: false,
            unremoved: false,
        }
    }

    /// The elements that are certain after a value was put and then, by a client that had seen
    /// `observed`, the field removed.
    fn after(observed: Option<CausalContext>) -> Vec<(String, bool)> {
        let actor = Actor { node: NodeId(1), epoch: 0 };
        let mut mint = Mint::new(actor, 1, Hlc::default());
        let put = MapOp::Update {
            change: named("mv", FieldOp::MvRegister(b"v".to_vec())),
            observed: Observed::Nothing,
        };
        let delta = Map::default().delta(&put, &mut mint).expect("nothing forbids it");
        let dots = delta.context().clone();
        let mut records = vec![record(put, dots.clone(), dots)];
        if let Some(observed) = observed {
            let change = map::Change { remove: ["mv".to_string()].into(), ..Default::default() };
            let seen = SeenContext { dots: observed.clone(), ..SeenContext::default() };
            let removal = MapOp::Update { change, observed: Observed::Context(seen) };
            records.push(record(removal, observed, CausalContext::new()));
        }
        let changes: Vec<Change<'_>> = records.iter().filter_map(change).collect();
        let certain = certainties(&changes, &mut Findings::default());
        certain.into_iter().map(|(what, there)| (leaves::text(&what), there)).collect()
    }

    #[test]
    fn a_value_is_there_until_a_removal_that_saw_it() {
        let there =
            |certain: &[(String, bool)]| certain.iter().map(|one| one.1).collect::<Vec<_>>();
        assert_eq!(there(&after(None)), [true]);
        let dot = Dot { actor: Actor { node: NodeId(1), epoch: 0 }, counter: 1 };
        assert_eq!(there(&after(Some([dot].into_iter().collect()))), [false]);
        let other = Dot { actor: Actor { node: NodeId(2), epoch: 0 }, counter: 1 };
        assert_eq!(there(&after(Some([other].into_iter().collect()))), [true]);
    }

    #[test]
    fn half_an_update_and_a_wrong_sum_are_told() {
        let actor = Actor { node: NodeId(1), epoch: 0 };
        let fields = |outer: i64, inner: i64| {
            let mut mint = Mint::new(actor, 1, Hlc::default());
            let mut change = named(COUNT, FieldOp::Counter(outer));
            let within = FieldOp::Map(named(COUNT, FieldOp::Counter(inner)));
            change.update.insert(INNER.into(), within);
            let op = MapOp::Update { change, observed: Observed::Here };
            Map::default().delta(&op, &mut mint).expect("in range").fields()
        };
        assert_eq!(judge(&fields(5, 5), 3..=8, true), Ok(()));
        assert_eq!(judge(&fields(5, 4), 3..=8, false), Ok(()));
        assert!(judge(&fields(5, 4), 3..=8, true).is_err());
        for whole in [true, false] {
            assert!(judge(&fields(9, 9), 3..=8, whole).is_err());
            assert!(judge(&fields(5, 9), 3..=8, whole).is_err());
        }
    }
}
