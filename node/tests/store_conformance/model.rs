//! A store is a map: random histories, step by step beside one `BTreeMap` a family.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use starling_node::store::{Batch, Change, Family};

use crate::{Row, Subject, rows};

/// What the rows must be.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Model([BTreeMap<Vec<u8>, Vec<u8>>; Family::ALL.len()]);

impl Model {
    pub fn write(&mut self, batch: &Batch) {
        for Change { family, key, value } in batch.changes.clone() {
            let table = &mut self.0[family as usize];
            match value {
                Some(value) => table.insert(key, value),
                None => table.remove(&key),
            };
        }
    }

    pub fn rows(&self, family: Family, from: &[u8], until: Option<&[u8]>) -> Vec<Row> {
        let inside = |key: &[u8]| from <= key && until.is_none_or(|until| key < until);
        let table = self.0[family as usize].iter().filter(|(key, _)| inside(key));
        table.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Write(Batch),
    Get(Family, Vec<u8>),
    Scan(Family, Vec<u8>, Option<Vec<u8>>),
    Sync,
    SyncAndRestart,
}

fn family() -> impl Strategy<Value = Family> {
    prop::sample::select(Family::ALL.to_vec())
}

/// Short keys over few bytes, so that changes meet and ranges have borders.
fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(prop::sample::select(vec![0x00, 0x01, b'a', b'b', 0xfe, 0xff]), 0..4)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => vec(any::<u8>(), 0..16), 1 => (any::<u8>(), 0..70_000_usize)
        .prop_map(|(byte, len)| vec![byte; len])]
}

/// A batch of up to 12 changes, a third of them deletions.
pub fn batches() -> impl Strategy<Value = Batch> {
    let change = (family(), key(), prop::option::weighted(0.66, value()));
    let change = change.prop_map(|(family, key, value)| Change { family, key, value });
    vec(change, 0..12).prop_map(|changes| Batch { changes })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => batches().prop_map(Step::Write),
        6 => (family(), key()).prop_map(|(family, key)| Step::Get(family, key)),
        6 => (family(), key(), prop::option::of(key()))
            .prop_map(|(family, from, until)| Step::Scan(family, from, until)),
        3 => Just(Step::Sync),
        1 => Just(Step::SyncAndRestart),
    ];
    vec(step, 1..60)
}

/// All rows of the store are those of the model.
pub fn assert_equal(subject: &mut impl Subject, model: &Model) {
    for family in Family::ALL {
        let found = rows(subject.store(), family, b"", None).unwrap();
        assert_eq!(found, model.rows(family, b"", None), "rows of {}", family.name());
    }
}

pub fn random_histories_match_a_model<S: Subject>() {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&steps(), |steps| {
        let mut subject = S::fresh();
        let mut model = Model::default();
        let mut written = 0;
        for step in steps {
            match step {
                Step::Write(batch) => {
                    model.write(&batch);
                    written += 1;
                    prop_assert_eq!(subject.store().write(batch).map(|lsn| lsn.0), Ok(written));
                }
                Step::Get(family, key) => {
                    let expected = model.0[family as usize].get(&key).cloned();
                    prop_assert_eq!(subject.store().get(family, &key), Ok(expected));
                }
                Step::Scan(family, from, until) => {
                    let found = rows(subject.store(), family, &from, until.as_deref());
                    prop_assert_eq!(found, Ok(model.rows(family, &from, until.as_deref())));
                }
                Step::Sync => prop_assert_eq!(subject.sync().0, written),
                Step::SyncAndRestart => {
                    prop_assert_eq!(subject.sync().0, written);
                    subject.restart();
                    written = 0;
                }
            }
        }
        assert_equal(&mut subject, &model);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
