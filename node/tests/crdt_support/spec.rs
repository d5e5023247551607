//! The specifications: the value of each type as a function of the writes received.

use super::{Events, Seen, Subject, Write};
use starling_node::crdt::{
    Bounded, BoundedOp, Counter, CounterOp, Dot, DwFlag, Flag, FlagOp, Kv, KvOp, Object, Observed,
    RwSet, Set, SetOp, Sibling,
};
use std::collections::BTreeSet;

fn each(events: Events) -> impl Iterator<Item = usize> {
    (0..Events::BITS as usize).filter(move |id| events >> id & 1 == 1)
}

/// A register is the puts that no write received has observed.
pub struct KvSubject;

/// A write of a register or flag: what it says, and every write before it.
#[derive(Clone, PartialEq)]
pub struct Said {
    id: usize,
    value: Option<bool>,
    observed: Events,
}

/// Writes received and everything before them.
fn past(facts: &[Said], known: Events) -> Events {
    each(known).fold(known, |past, id| past | facts[id].observed)
}

/// Writes received that none of the others observed.
fn maximal(facts: &[Said], known: Events) -> impl Iterator<Item = &Said> {
    let observed = each(known).fold(0, |all, id| all | facts[id].observed);
    each(known & !observed).map(|id| &facts[id]).filter(|said| said.value.is_some())
}

fn observed_past(facts: &[Said], write: Write) -> Events {
    match write.seen {
        Seen::Here => past(facts, write.known),
        Seen::Read(events) => past(facts, events),
        Seen::Nothing => 0,
    }
}

impl Subject for KvSubject {
    type State = Kv;
    type Fact = Said;
    type View = BTreeSet<Vec<u8>>;
    const KINDS: u8 = 4;

    fn op(kind: u8, id: usize, observed: Observed, _: u64) -> KvOp {
        match kind {
            0 => KvOp::Delete { observed },
            _ => KvOp::Put { value: vec![id as u8], content_type: "text/plain".into(), observed },
        }
    }

    fn object(state: Kv) -> Object {
        Object::Kv(state)
    }

    fn view(siblings: Vec<Sibling>) -> Self::View {
        siblings.into_iter().map(|sibling| sibling.value).collect()
    }

    fn fact(facts: &[Said], write: Write) -> Said {
        let value = (write.kind > 0).then_some(true);
        Said { id: write.id, value, observed: observed_past(facts, write) }
    }

    fn spec(facts: &[Said], known: Events) -> Option<Self::View> {
        let live: BTreeSet<_> = maximal(facts, known).map(|put| vec![put.id as u8]).collect();
        (!live.is_empty()).then_some(live)
    }
}

/// A flag is on when a switching on was observed by no other write received.
pub struct FlagSubject;

impl Subject for FlagSubject {
    type State = Flag;
    type Fact = Said;
    type View = bool;
    const KINDS: u8 = 5;

    fn op(kind: u8, _: usize, observed: Observed, _: u64) -> FlagOp {
        match kind {
            0 => FlagOp::Delete { observed },
            kind => FlagOp::Set { enabled: kind < 3, observed },
        }
    }

    fn object(state: Flag) -> Object {
        Object::Flag(state)
    }

    fn view(value: bool) -> bool {
        value
    }

    fn fact(facts: &[Said], write: Write) -> Said {
        let value = (write.kind > 0).then_some(write.kind < 3);
        Said { id: write.id, value, observed: observed_past(facts, write) }
    }

    fn spec(facts: &[Said], known: Events) -> Option<bool> {
        maximal(facts, known).map(|said| said.value == Some(true)).reduce(|a, b| a | b)
    }
}

/// A counter is the sum of the increments received that no reset or removal received observed.
/// Receiving an increment is receiving all earlier ones of the same run. A run ends when the
/// replica knows that all of it was removed.
pub struct CounterSubject;

#[derive(Clone, PartialEq)]
pub struct Counted {
    amount: i64,
    /// It leaves the counter present: all but removals do.
    writes: bool,
    /// Itself and earlier writes of its run.
    prefix: Events,
    observed: Events,
}

fn counted(facts: &[Counted], known: Events) -> Events {
    each(known).fold(0, |all, id| all | facts[id].prefix | facts[id].observed)
}

impl CounterSubject {
    fn amount(kind: u8, id: usize) -> i64 {
        match kind {
            0 | 1 => 0,
            2 | 3 => 1 << id,
            _ => -(1 << id),
        }
    }
}

impl Subject for CounterSubject {
    type State = Counter;
    type Fact = (u32, Counted);
    type View = i64;
    const KINDS: u8 = 6;

    fn op(kind: u8, id: usize, observed: Observed, floor: u64) -> CounterOp {
        match kind {
            0 => CounterOp::Delete { observed },
            1 => CounterOp::Reset { observed, floor },
            kind => CounterOp::Add { amount: Self::amount(kind, id).into(), floor },
        }
    }

    fn object(state: Counter) -> Object {
        Object::Counter(state)
    }

    fn view(value: i64) -> i64 {
        value
    }

    fn fact(facts: &[Self::Fact], write: Write) -> Self::Fact {
        let counts: Vec<Counted> = facts.iter().map(|(_, fact)| fact.clone()).collect();
        let writes = write.kind > 0;
        let mut run = facts.iter().filter(|(run, fact)| *run == write.run && fact.writes);
        let before = run.next_back().map_or(0, |(_, fact)| fact.prefix);
        // A run all of which was removed, as far as the replica knows, is over.
        let over = each(write.known).any(|id| counts[id].observed & before == before);
        let before = if over { 0 } else { before };
        let observed = match write.seen {
            _ if write.kind > 1 => 0,
            Seen::Here => counted(&counts, write.known),
            Seen::Read(events) => counted(&counts, events),
            Seen::Nothing => 0,
        };
        let prefix = if writes { before | 1 << write.id } else { 0 };
        let amount = Self::amount(write.kind, write.id);
        (write.run, Counted { amount, writes, prefix, observed })
    }

    fn spec(facts: &[Self::Fact], known: Events) -> Option<i64> {
        let facts: Vec<Counted> = facts.iter().map(|(_, fact)| fact.clone()).collect();
        let all = counted(&facts, known);
        let observed_by = |removals: Events| each(removals).fold(0, |o, id| o | facts[id].observed);
        let deletes = each(known).filter(|id| !facts[*id].writes).fold(0, |all, id| all | 1 << id);
        let present = all & !observed_by(deletes) != 0;
        let sum = each(all & !observed_by(known)).map(|id| facts[id].amount).sum();
        present.then_some(sum)
    }
}

/// A member is in a set when an add of it was observed by no other write. A removal observes the
/// adds it finds and those its client saw that have not arrived; an add replaces those it finds.
pub struct SetSubject;

/// Adds, at most two a write, one bit each: bit `2 * id` and the next.
type Adds = u128;

#[derive(Clone, PartialEq, Default)]
pub struct Changed {
    added: Vec<(u32, u8)>,
    /// Adds that are gone with it and whose member it could tell, or of the whole set.
    killed: Adds,
    /// Adds that are dead on arrival.
    awaited: Adds,
}

fn added(facts: &[Changed], known: Events, member: Option<u8>) -> Adds {
    let adds = each(known).flat_map(|id| &facts[id].added);
    let adds = adds.filter(|(_, added)| member.is_none_or(|member| member == *added));
    adds.fold(0, |all, (bit, _)| all | 1 << bit)
}

fn killed(facts: &[Changed], known: Events) -> Adds {
    each(known).fold(0, |all, id| all | facts[id].killed)
}

fn live(facts: &[Changed], known: Events, member: u8) -> Adds {
    let awaited = each(known).fold(0, |all, id| all | facts[id].awaited);
    added(facts, known, Some(member)) & !killed(facts, known) & !awaited
}

fn heard(facts: &[Changed], known: Events) -> Adds {
    added(facts, known, None) | killed(facts, known)
}

impl SetSubject {
    pub const MEMBERS: u8 = 3;

    /// Members an operation adds and removes; `None` when it removes the whole set.
    fn change(kind: u8) -> Option<(Vec<u8>, Vec<u8>)> {
        Some(match kind {
            0 => return None,
            1..=3 => (vec![kind - 1], vec![]),
            4..=6 => (vec![], vec![kind - 4]),
            7 => (vec![0, 1], vec![2]),
            _ => (vec![2], vec![0, 1]),
        })
    }
}

impl Subject for SetSubject {
    type State = Set;
    type Fact = Changed;
    type View = BTreeSet<Vec<u8>>;
    const KINDS: u8 = 9;

    fn op(kind: u8, _: usize, observed: Observed, _: u64) -> SetOp {
        let named = |members: Vec<u8>| members.into_iter().map(|member| vec![member]).collect();
        match Self::change(kind) {
            None => SetOp::Delete { observed },
            Some((add, remove)) => {
                SetOp::Update { add: named(add), remove: named(remove), observed }
            }
        }
    }

    fn object(state: Set) -> Object {
        Object::Set(state)
    }

    fn view(members: BTreeSet<Vec<u8>>) -> Self::View {
        members
    }

    fn fact(facts: &[Changed], write: Write) -> Changed {
        let mut fact = Changed::default();
        let seen = match write.seen {
            Seen::Here => heard(facts, write.known),
            Seen::Read(events) => heard(facts, events),
            Seen::Nothing => 0,
        };
        let Some((add, remove)) = Self::change(write.kind) else {
            return Changed { killed: seen, ..fact };
        };
        for member in remove {
            let of_member = added(facts, (1 << write.id) - 1, Some(member));
            fact.killed |= live(facts, write.known, member) & seen;
            fact.awaited |= seen & of_member & !heard(facts, write.known);
        }
        for (n, member) in add.into_iter().enumerate() {
            fact.killed |= live(facts, write.known, member);
            fact.added.push(((2 * write.id + n) as u32, member));
        }
        fact
    }

    fn spec(facts: &[Changed], known: Events) -> Option<Self::View> {
        let members = (0..Self::MEMBERS).filter(|member| live(facts, known, *member) != 0);
        let members: BTreeSet<_> = members.map(|member| vec![member]).collect();
        (!members.is_empty()).then_some(members)
    }
}

/// A flag of the other kind is on when no received write observed any that switched it on, and
/// none is left that switched it off.
pub struct DwFlagSubject;

impl Subject for DwFlagSubject {
    type State = DwFlag;
    type Fact = Said;
    type View = bool;
    const KINDS: u8 = FlagSubject::KINDS;

    fn op(kind: u8, id: usize, observed: Observed, floor: u64) -> FlagOp {
        FlagSubject::op(kind, id, observed, floor)
    }

    fn object(state: DwFlag) -> Object {
        Object::DwFlag(state)
    }

    fn view(value: bool) -> bool {
        value
    }

    fn fact(facts: &[Said], write: Write) -> Said {
        FlagSubject::fact(facts, write)
    }

    fn spec(facts: &[Said], known: Events) -> Option<bool> {
        maximal(facts, known).map(|said| said.value == Some(true)).reduce(|a, b| a & b)
    }
}

/// A bounded counter is the sum of the increments received minus the decrements received.
/// Receiving a write is receiving all earlier ones of the same run, and of every run that had
/// given rights to it all that its writer knew.
pub struct BoundedSubject;

#[derive(Clone, PartialEq)]
pub struct Escrowed {
    run: u32,
    amount: i64,
    /// The run it gives rights to.
    target: Option<u32>,
    carried: Events,
}

fn carried(facts: &[Escrowed], known: Events) -> Events {
    each(known).fold(0, |all, id| all | facts[id].carried)
}

impl BoundedSubject {
    fn amount(kind: u8) -> i64 {
        match kind {
            0..=2 => i64::from(kind) + 2,
            3..=5 => 2 - i64::from(kind),
            _ => 0,
        }
    }
}

impl Subject for BoundedSubject {
    type State = Bounded;
    type Fact = Escrowed;
    type View = i64;
    const KINDS: u8 = 9;

    fn op(kind: u8, _: usize, _: Observed, _: u64) -> BoundedOp {
        BoundedOp::Add { amount: Self::amount(kind).into() }
    }

    fn op_among(
        others: &[(u32, Dot)],
        kind: u8,
        id: usize,
        seen: Observed,
        floor: u64,
    ) -> (BoundedOp, Option<u32>) {
        if kind < 7 || others.is_empty() {
            return (Self::op(kind, id, seen, floor), None);
        }
        let (amount, other) = (u64::from(kind - 7) % 2 + 1, usize::from(kind - 7) / 2);
        let (run, to) = others[(id + other) % others.len()];
        (BoundedOp::Give { to, amount }, Some(run))
    }

    fn object(state: Bounded) -> Object {
        Object::Bounded(state)
    }

    fn view(value: i64) -> i64 {
        assert!(value >= 0, "no view is below 0");
        value
    }

    fn fact(facts: &[Escrowed], write: Write) -> Escrowed {
        let heard = carried(facts, write.known);
        let of_run = |run| move |id: &usize| facts[*id].run == run;
        let (mut carried, mut wanted) = (1 << write.id, vec![write.run]);
        carried |= each(heard).filter(of_run(write.run)).fold(0, |all, id| all | 1 << id);
        while let Some(getter) = wanted.pop() {
            let gave = |id: &usize| facts[*id].target == Some(getter);
            for giver in each(heard).filter(gave).map(|id| facts[id].run) {
                let all = each(heard).filter(of_run(giver)).fold(0, |all, id| all | 1 << id);
                if carried & all != all {
                    carried |= all;
                    wanted.push(giver);
                }
            }
        }
        let amount = Self::amount(write.kind);
        Escrowed { run: write.run, amount, target: write.target, carried }
    }

    fn spec(facts: &[Escrowed], known: Events) -> Option<i64> {
        let all = carried(facts, known);
        (all != 0).then(|| each(all).map(|id| facts[id].amount).sum())
    }
}

/// A member is in a set of the other kind while additions and removals of it are left that no
/// received write replaced, and all of them are additions. A removal replaces what it finds, an
/// addition what it finds of what its client saw.
pub struct RwSetSubject;

#[derive(Clone, PartialEq, Default)]
pub struct Voted {
    /// Additions and removals: bit, member, whether it adds. At most three a write.
    votes: Vec<(u32, u8, bool)>,
    /// Votes that it takes the place of.
    replaced: Adds,
}

fn all_replaced(facts: &[Voted], known: Events) -> Adds {
    each(known).fold(0, |all, id| all | facts[id].replaced)
}

/// Votes on a member, or on all, that were received and not replaced.
fn votes_left(facts: &[Voted], known: Events, member: Option<u8>) -> Vec<(u32, u8, bool)> {
    let replaced = all_replaced(facts, known);
    let votes = each(known).flat_map(|id| facts[id].votes.clone());
    let left = votes.filter(|(bit, voted, _)| {
        replaced >> bit & 1 == 0 && member.is_none_or(|member| member == *voted)
    });
    left.collect()
}

fn bits(votes: &[(u32, u8, bool)]) -> Adds {
    votes.iter().fold(0, |all, (bit, ..)| all | 1 << bit)
}

fn votes_heard(facts: &[Voted], known: Events) -> Adds {
    let votes = each(known).map(|id| bits(&facts[id].votes));
    votes.fold(all_replaced(facts, known), |all, votes| all | votes)
}

impl Subject for RwSetSubject {
    type State = RwSet;
    type Fact = Voted;
    type View = BTreeSet<Vec<u8>>;
    const KINDS: u8 = SetSubject::KINDS;

    fn op(kind: u8, id: usize, observed: Observed, floor: u64) -> SetOp {
        SetSubject::op(kind, id, observed, floor)
    }

    fn object(state: RwSet) -> Object {
        Object::RwSet(state)
    }

    fn view(members: BTreeSet<Vec<u8>>) -> Self::View {
        members
    }

    fn fact(facts: &[Voted], write: Write) -> Voted {
        let seen = match write.seen {
            Seen::Here => votes_heard(facts, write.known),
            Seen::Read(events) => votes_heard(facts, events),
            Seen::Nothing => 0,
        };
        let Some((add, remove)) = SetSubject::change(write.kind) else {
            return Voted { replaced: seen, ..Voted::default() };
        };
        let mut fact = Voted::default();
        let added = add.into_iter().map(|member| (member, true, seen));
        let removed = remove.into_iter().map(|member| (member, false, Adds::MAX));
        for (n, (member, adds, replaces)) in added.chain(removed).enumerate() {
            let found = bits(&votes_left(facts, write.known, Some(member)));
            fact.replaced |= found & replaces;
            fact.votes.push(((3 * write.id + n) as u32, member, adds));
        }
        fact
    }

    fn spec(facts: &[Voted], known: Events) -> Option<Self::View> {
        let is_in = |member: &u8| {
            let votes = votes_left(facts, known, Some(*member));
            !votes.is_empty() && votes.iter().all(|(.., adds)| *adds)
        };
        let members: BTreeSet<_> =
            (0..SetSubject::MEMBERS).filter(is_in).map(|member| vec![member]).collect();
        (!members.is_empty()).then_some(members)
    }
}
