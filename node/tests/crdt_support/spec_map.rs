//! The specification of maps: of each leaf what its writes come to, in bits.

use super::{Events, Seen, Subject, Write};
use starling_node::crdt::map::{Change, Field, FieldOp, Fields};
use starling_node::crdt::{Map, MapOp, Object, Observed};
use std::collections::{BTreeMap, BTreeSet};

/// A map with a register, a counter, a set of two members, and a map of a counter and a set.
pub struct MapSubject;

/// Writes of leaves, at most four a write: bits `4 * id` and the next three.
type Atoms = u128;

/// What is written, by name.
const LEAVES: [&str; 6] = ["r", "c", "s/0", "s/1", "a/c", "a/s/0"];
const R: usize = 0;
const C: usize = 1;
const S0: usize = 2;
const S1: usize = 3;
const AC: usize = 4;
const AS0: usize = 5;

#[derive(Clone, Copy)]
enum Act {
    /// Write in place of what was observed.
    Put,
    /// Write in place of what is here.
    Add,
    /// Write a running total that goes on from this replica's last one, if that is live.
    Count(i64),
    /// Remove what was observed.
    Remove,
}

#[derive(Clone, PartialEq)]
struct Atom {
    bit: u32,
    leaf: usize,
    amount: i64,
    /// Itself and what its running total includes.
    prefix: Atoms,
}

/// What the specification keeps of a write.
#[derive(Clone, PartialEq, Default)]
pub struct Fact {
    run: u32,
    atoms: Vec<Atom>,
    /// Gone with it.
    killed: Atoms,
    /// Dead on arrival.
    awaited: Atoms,
    /// Amounts it takes away.
    taken: Atoms,
}

fn each(events: Events) -> impl Iterator<Item = usize> {
    (0..Events::BITS as usize).filter(move |id| events >> id & 1 == 1)
}

fn atoms(facts: &[Fact], known: Events) -> impl Iterator<Item = &Atom> {
    each(known).flat_map(|id| &facts[id].atoms)
}

fn bits<'a>(atoms: impl Iterator<Item = &'a Atom>) -> Atoms {
    atoms.fold(0, |all, atom| all | 1 << atom.bit)
}

fn of(facts: &[Fact], known: Events, part: fn(&Fact) -> Atoms) -> Atoms {
    each(known).fold(0, |all, id| all | part(&facts[id]))
}

/// Dots in the context.
fn heard(facts: &[Fact], known: Events) -> Atoms {
    bits(atoms(facts, known)) | of(facts, known, |fact| fact.killed)
}

/// Dots that are live, whatever newer ones of their run there are.
fn live(facts: &[Fact], known: Events, leaf: usize) -> impl Iterator<Item = &Atom> {
    let dead = of(facts, known, |fact| fact.killed | fact.awaited);
    atoms(facts, known).filter(move |atom| atom.leaf == leaf && dead >> atom.bit & 1 == 0)
}

fn totals(facts: &[Fact], known: Events, leaf: usize) -> Atoms {
    live(facts, known, leaf).fold(0, |all, atom| all | atom.prefix)
}

fn sum(facts: &[Fact], known: Events, leaf: usize) -> Option<i64> {
    let counted = totals(facts, known, leaf) & !of(facts, known, |fact| fact.taken);
    live(facts, known, leaf).next()?;
    let all = facts.iter().flat_map(|fact| &fact.atoms);
    Some(all.filter(|atom| counted >> atom.bit & 1 == 1).map(|atom| atom.amount).sum())
}

/// What each kind of operation does; `None` when it removes the whole map.
fn acts(kind: u8, id: usize) -> Option<Vec<(usize, Act)>> {
    let amount = 1 << id;
    Some(match kind {
        0 => return None,
        1 => vec![(AC, Act::Remove), (AS0, Act::Remove)],
        2 => vec![(C, Act::Remove)],
        3 => vec![(R, Act::Put)],
        4 | 5 => vec![(C, Act::Count(amount))],
        6 => vec![(C, Act::Count(-amount))],
        7 => vec![(S0, Act::Add), (S1, Act::Remove)],
        8 => vec![(S1, Act::Add)],
        9 => vec![(S0, Act::Remove), (S1, Act::Remove)],
        10 => vec![(AC, Act::Count(amount))],
        11 => vec![(AC, Act::Count(amount)), (AS0, Act::Add)],
        _ => vec![(C, Act::Count(amount)), (R, Act::Put), (AC, Act::Remove), (AS0, Act::Remove)],
    })
}

/// Whether the operation takes away what the replica holds even for a client with a context: of
/// totals below a map, and of those of a whole map, a context does not tell.
fn looks_here(kind: u8) -> bool {
    matches!(kind, 0 | 1 | 12)
}

fn change(kind: u8, id: usize) -> Change {
    let text = |id: usize| FieldOp::Register(id.to_string().into_bytes());
    let set = |add: &[u8], remove: &[u8]| FieldOp::Set {
        add: add.iter().map(|member| vec![*member]).collect(),
        remove: remove.iter().map(|member| vec![*member]).collect(),
    };
    let map = |fields: Vec<(&str, FieldOp)>| {
        let update = fields.into_iter().map(|(name, op)| (name.to_string(), op)).collect();
        FieldOp::Map(Change { update, remove: BTreeSet::new() })
    };
    let amount = 1 << id;
    let (fields, removed): (Vec<(&str, FieldOp)>, Vec<&str>) = match kind {
        1 => (vec![], vec!["a"]),
        2 => (vec![], vec!["c"]),
        3 => (vec![("r", text(id))], vec![]),
        4 | 5 => (vec![("c", FieldOp::Counter(amount))], vec![]),
        6 => (vec![("c", FieldOp::Counter(-amount))], vec![]),
        7 => (vec![("s", set(b"0", b"1"))], vec![]),
        8 => (vec![("s", set(b"1", b""))], vec![]),
        9 => (vec![], vec!["s"]),
        10 => (vec![("a", map(vec![("c", FieldOp::Counter(amount))]))], vec![]),
        11 => {
            let inner = vec![("c", FieldOp::Counter(amount)), ("s", set(b"0", b""))];
            (vec![("a", map(inner))], vec![])
        }
        _ => (vec![("c", FieldOp::Counter(amount)), ("r", text(id))], vec!["a"]),
    };
    Change {
        update: fields.into_iter().map(|(name, op)| (name.to_string(), op)).collect(),
        remove: removed.into_iter().map(str::to_string).collect(),
    }
}

impl Subject for MapSubject {
    type State = Map;
    type Fact = Fact;
    type View = BTreeMap<String, String>;
    const KINDS: u8 = 13;

    fn op(kind: u8, id: usize, observed: Observed, _: u64) -> MapOp {
        let observed = match observed {
            Observed::Context(_) if looks_here(kind) => Observed::Here,
            observed => observed,
        };
        match kind {
            0 => MapOp::Delete { observed },
            _ => MapOp::Update { change: change(kind, id), observed },
        }
    }

    fn object(state: Map) -> Object {
        Object::Map(state)
    }

    fn view(fields: Fields) -> Self::View {
        let mut view = BTreeMap::new();
        shown("", &fields, &mut view);
        view
    }

    fn fact(facts: &[Fact], write: Write) -> Fact {
        let seen = match write.seen {
            Seen::Read(_) if looks_here(write.kind) => Seen::Here,
            seen => seen,
        };
        let observed = match seen {
            Seen::Here => heard(facts, write.known),
            Seen::Read(events) => heard(facts, events),
            Seen::Nothing => 0,
        };
        // Of totals that are gone here already a removal says nothing.
        let seen_totals = |leaf| {
            let here: Vec<_> = live(facts, write.known, leaf).collect();
            let seen_here = here.iter().filter(|atom| observed >> atom.bit & 1 == 1);
            let of_here = seen_here.fold(0, |all, atom| all | atom.prefix);
            let Seen::Read(events) = seen else { return of_here };
            let known = heard(facts, write.known);
            let read = live(facts, events, leaf).filter(|read| {
                let same_run = here.iter().any(|atom| atom.prefix >> read.bit & 1 == 1);
                same_run || known >> read.bit & 1 == 0
            });
            read.fold(of_here, |all, atom| all | atom.prefix)
        };
        let mut fact = Fact { run: write.run, ..Fact::default() };
        let Some(acts) = acts(write.kind, write.id) else {
            fact.killed = observed;
            fact.taken = [C, AC].into_iter().fold(0, |all, leaf| all | seen_totals(leaf));
            return fact;
        };
        for (slot, (leaf, act)) in acts.into_iter().enumerate() {
            let here = bits(live(facts, write.known, leaf));
            let bit = (4 * write.id + slot) as u32;
            let mut atom = Atom { bit, leaf, amount: 0, prefix: 1 << bit };
            match act {
                Act::Put => fact.killed |= here & observed,
                Act::Add => fact.killed |= here,
                Act::Count(amount) => {
                    atom.amount = amount;
                    let own = each(write.known).filter(|id| facts[*id].run == write.run);
                    let own = own.flat_map(|id| &facts[id].atoms).filter(|a| a.leaf == leaf);
                    // The last live one of this replica's.
                    if let Some(last) = own.filter(|a| here >> a.bit & 1 == 1).last() {
                        atom.prefix |= last.prefix;
                        fact.killed |= 1 << last.bit;
                    }
                }
                Act::Remove => {
                    let of_leaf =
                        bits(facts.iter().flat_map(|f| &f.atoms).filter(|a| a.leaf == leaf));
                    fact.killed |= here & observed;
                    if matches!(seen, Seen::Read(_)) {
                        fact.awaited |= observed & of_leaf & !heard(facts, write.known);
                    }
                    fact.taken |= seen_totals(leaf);
                    continue;
                }
            }
            fact.atoms.push(atom);
        }
        fact
    }

    fn spec(facts: &[Fact], known: Events) -> Option<Self::View> {
        let mut view = BTreeMap::new();
        for (leaf, name) in LEAVES.into_iter().enumerate() {
            let value = match leaf {
                R => {
                    live(facts, known, leaf).map(|atom| atom.bit / 4).min().map(|id| id.to_string())
                } // Clocks run backwards here.
                C | AC => sum(facts, known, leaf).map(|sum| sum.to_string()),
                _ => live(facts, known, leaf).next().map(|_| "in".to_string()),
            };
            view.extend(value.map(|value| (name.to_string(), value)));
        }
        (!view.is_empty()).then_some(view)
    }
}

fn shown(at: &str, fields: &Fields, view: &mut BTreeMap<String, String>) {
    for (name, field) in fields.iter() {
        let path = format!("{at}{name}");
        match field {
            Field::Register(value) => {
                view.insert(path, String::from_utf8(value.clone()).unwrap());
            }
            Field::Counter(sum) => {
                view.insert(path, sum.to_string());
            }
            Field::Set(members) => members.iter().for_each(|member| {
                let member = String::from_utf8_lossy(member);
                view.insert(format!("{path}/{member}"), "in".into());
            }),
            Field::Map(fields) => shown(&format!("{path}/"), fields, view),
            other => panic!("no {other:?} is written here"),
        }
    }
}
