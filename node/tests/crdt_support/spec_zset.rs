//! The specifications of sorted sets and of HyperLogLogs, in terms of what each write put in.
//!
//! An *item* is one score set, one addition, or one rank given: at most two a write, one bit each.

use super::{Events, Seen, Subject, Write};
use starling_node::crdt::{Hll, HllOp, Object, Observed, Real, Zset, ZsetOp};
use std::collections::{BTreeMap, BTreeSet};

type Items = u128;

fn each(events: Events) -> impl Iterator<Item = usize> {
    (0..Events::BITS as usize).filter(move |id| events >> id & 1 == 1)
}

fn bits(items: Items) -> impl Iterator<Item = usize> {
    (0..Items::BITS as usize).filter(move |bit| items >> bit & 1 == 1)
}

/// What a write put into a row, with what it goes on from.
#[derive(Clone, PartialEq)]
pub struct Item {
    bit: usize,
    row: u8,
    /// A score set; otherwise an addition.
    sets: bool,
    amount: f64,
    /// The life of the replica that wrote it: only an actor itself goes on with its additions.
    life: u32,
    /// Additions that one row of totals comes to: this one and those it goes on from.
    chain: Items,
}

#[derive(Clone, PartialEq, Default)]
pub struct Changed {
    items: Vec<Item>,
    /// Items that are gone with it.
    killed: Items,
    /// Items of this row that are dead on arrival.
    awaited: Items,
    /// Additions that it took away, as part of what comes later too.
    noted: Items,
}

/// What a replica with these writes has.
struct Held<'a> {
    items: Vec<&'a Item>,
    heard: Items,
    dead: Items,
    noted: Items,
}

impl<'a> Held<'a> {
    fn new(facts: &'a [Changed], known: Events) -> Self {
        let items: Vec<&Item> = each(known).flat_map(|id| &facts[id].items).collect();
        let all = |of: fn(&Changed) -> Items| each(known).fold(0, |all, id| all | of(&facts[id]));
        let put = items.iter().fold(0, |all, item| all | 1 << item.bit);
        let (killed, awaited) = (all(|fact| fact.killed), all(|fact| fact.awaited));
        let (heard, dead) = (put | killed, killed | awaited);
        Held { items, heard, dead, noted: all(|fact| fact.noted) }
    }

    fn live(&self, row: u8) -> impl Iterator<Item = &'a Item> {
        let live = move |item: &&&Item| item.row == row && self.dead >> item.bit & 1 == 0;
        self.items.iter().filter(live).copied()
    }

    fn live_bits(&self, row: u8) -> Items {
        self.live(row).fold(0, |all, item| all | 1 << item.bit)
    }

    fn chains(&self, row: u8) -> impl Iterator<Item = &'a Item> {
        self.live(row).filter(|item| !item.sets)
    }

    fn score(&self, facts: &[Changed], row: u8) -> Option<f64> {
        // Clocks run backwards: the first write counts.
        self.live(row).next()?;
        let set = self.live(row).filter(|item| item.sets).min_by_key(|item| item.bit);
        let added = self.chains(row).fold(0, |all, item| all | item.chain) & !self.noted;
        let amount = |bit: usize| {
            let item = facts[bit / 2].items.iter().find(|item| item.bit == bit);
            item.expect("an addition").amount
        };
        Some(set.map_or(0.0, |item| item.amount) + bits(added).map(amount).sum::<f64>())
    }
}

/// A member is in a sorted set while a score set or an addition is live that no write received
/// observed. Its score is the last one set plus the additions that none received observed.
pub struct ZsetSubject;

enum Change {
    Delete,
    Update { add: Vec<u8>, increment: Vec<u8>, remove: Vec<u8> },
}

impl ZsetSubject {
    const MEMBERS: u8 = 3;

    fn change(kind: u8) -> Change {
        let (add, increment, remove) = match kind {
            0 => return Change::Delete,
            1..=3 => (vec![kind - 1], vec![], vec![]),
            4..=6 => (vec![], vec![kind - 4], vec![]),
            7..=9 => (vec![], vec![], vec![kind - 7]),
            10 => (vec![0], vec![1], vec![2]),
            _ => (vec![], vec![0, 1], vec![2]),
        };
        Change::Update { add, increment, remove }
    }

    fn score(id: usize) -> f64 {
        f64::from(id as i32 % 5 - 2) * 1e9
    }

    fn amount(id: usize) -> f64 {
        let amount = (1u32 << (id % 24)) as f64;
        if id.is_multiple_of(3) { -amount } else { amount }
    }

    /// Additions that a removal finds on both sides: of what is here, what the client saw of it;
    /// of what the client saw, what has not arrived.
    fn observed(facts: &[Changed], here: &Held<'_>, seen: Seen, row: u8, whole: bool) -> Items {
        let chains = |held: &Held<'_>| held.chains(row).fold(0, |all, item| all | item.chain);
        let events = match seen {
            Seen::Nothing => return 0,
            Seen::Here => return chains(here),
            Seen::Read(events) => events,
        };
        let read = Held::new(facts, events);
        let mut noted = 0;
        for item in here.chains(row) {
            let first = item.chain.trailing_zeros();
            let same_run = |other: &&Item| other.chain.trailing_zeros() == first;
            let newest = read.chains(row).filter(same_run).max_by_key(|item| item.bit);
            noted |= match read.heard >> item.bit & 1 {
                1 => item.chain,
                _ => newest.map_or(0, |item| item.chain),
            };
        }
        if !whole {
            let newest = |item: &&Item| {
                let later = |other: &Item| other.chain & item.chain != 0 && other.bit > item.bit;
                !read.chains(row).any(later)
            };
            let missed = read.chains(row).filter(newest);
            let missed = missed.filter(|item| here.heard >> item.bit & 1 == 0);
            noted |= missed.fold(0, |all, item| all | item.chain);
        }
        noted
    }
}

impl Subject for ZsetSubject {
    type State = Zset;
    type Fact = Changed;
    type View = BTreeMap<Vec<u8>, f64>;
    const KINDS: u8 = 12;

    fn op(kind: u8, id: usize, observed: Observed, _: u64) -> ZsetOp {
        let Change::Update { add, increment, remove } = Self::change(kind) else {
            return ZsetOp::Delete { observed };
        };
        let scored = |members: Vec<u8>, score: f64| {
            let score = Real::new(score).expect("finite");
            members.into_iter().map(|member| (vec![member], score)).collect()
        };
        let add = scored(add, Self::score(id));
        let increment = scored(increment, Self::amount(id));
        let remove = remove.into_iter().map(|member| vec![member]).collect();
        ZsetOp::Update { add, increment, remove, observed }
    }

    fn object(state: Zset) -> Object {
        Object::Zset(state)
    }

    fn view(scores: BTreeMap<Vec<u8>, f64>) -> Self::View {
        scores
    }

    fn fact(facts: &[Changed], write: Write) -> Changed {
        let here = Held::new(facts, write.known);
        let seen = match write.seen {
            Seen::Here => here.heard,
            Seen::Read(events) => Held::new(facts, events).heard,
            Seen::Nothing => 0,
        };
        let mut fact = Changed::default();
        let Change::Update { add, increment, remove } = Self::change(write.kind) else {
            fact.killed = seen;
            for row in 0..Self::MEMBERS {
                fact.noted |= Self::observed(facts, &here, write.seen, row, true);
            }
            return fact;
        };
        let of_row = |row: u8| {
            let items = facts.iter().flat_map(|fact| &fact.items).filter(|item| item.row == row);
            items.fold(0, |all: Items, item| all | 1 << item.bit)
        };
        for row in remove {
            fact.killed |= here.live_bits(row) & seen;
            fact.awaited |= seen & of_row(row) & !here.heard;
            fact.noted |= Self::observed(facts, &here, write.seen, row, false);
        }
        for row in add {
            fact.killed |= here.live_bits(row);
            fact.noted |= Self::observed(facts, &here, Seen::Here, row, false);
            let (bit, amount) = (2 * write.id + fact.items.len(), Self::score(write.id));
            let item = Item { bit, row, sets: true, amount, life: write.run, chain: 0 };
            fact.items.push(item);
        }
        for row in increment {
            let (bit, amount) = (2 * write.id + fact.items.len(), Self::amount(write.id));
            let own = here.chains(row).filter(|item| item.life == write.run);
            let own = own.max_by_key(|item| item.bit);
            fact.killed |= own.map_or(0, |item| 1 << item.bit);
            let chain = own.map_or(0, |item| item.chain) | 1 << bit;
            fact.items.push(Item { bit, row, sets: false, amount, life: write.run, chain });
        }
        fact
    }

    fn spec(facts: &[Changed], known: Events) -> Option<Self::View> {
        let held = Held::new(facts, known);
        let scores: BTreeMap<_, _> = (0..Self::MEMBERS)
            .filter_map(|row| Some((vec![row], held.score(facts, row)?)))
            .collect();
        (!scores.is_empty()).then_some(scores)
    }
}

/// The rank of a register is the highest one given that no write received observed: a removal
/// observes all it has seen, and an addition those that say no more than it does.
pub struct HllSubject;

impl HllSubject {
    fn place(kind: u8) -> (u8, u8) {
        (kind % 2, 1 + kind % 7)
    }
}

impl Subject for HllSubject {
    type State = Hll;
    type Fact = Changed;
    type View = BTreeMap<u16, u8>;
    const KINDS: u8 = 15;

    fn op(kind: u8, _: usize, observed: Observed, _: u64) -> HllOp {
        let (row, rank) = Self::place(kind);
        match kind {
            0 => HllOp::Delete { observed },
            _ => HllOp::Add { places: BTreeMap::from([(row.into(), rank)]) },
        }
    }

    fn object(state: Hll) -> Object {
        Object::Hll(state)
    }

    fn view(ranks: BTreeMap<u16, u8>) -> Self::View {
        ranks
    }

    fn fact(facts: &[Changed], write: Write) -> Changed {
        let here = Held::new(facts, write.known);
        let seen = match write.seen {
            Seen::Here => here.heard,
            Seen::Read(events) => Held::new(facts, events).heard,
            Seen::Nothing => 0,
        };
        if write.kind == 0 {
            return Changed { killed: seen, ..Changed::default() };
        }
        let (row, rank) = Self::place(write.kind);
        let amount = f64::from(rank);
        let covered = here.live(row).filter(|item| item.amount <= amount);
        let killed = covered.fold(0, |all, item| all | 1 << item.bit);
        let (bit, life) = (2 * write.id, write.run);
        let item = Item { bit, row, sets: true, amount, life, chain: 0 };
        Changed { items: vec![item], killed, ..Changed::default() }
    }

    fn spec(facts: &[Changed], known: Events) -> Option<Self::View> {
        let held = Held::new(facts, known);
        let rows: BTreeSet<u8> = held.items.iter().map(|item| item.row).collect();
        let rank = |row: u8| held.live(row).map(|item| item.amount as u8).max();
        let ranks: BTreeMap<_, _> =
            rows.into_iter().filter_map(|row| Some((row.into(), rank(row)?))).collect();
        (!ranks.is_empty()).then_some(ranks)
    }
}
