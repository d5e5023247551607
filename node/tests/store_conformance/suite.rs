//! The promises that hold for every backend.

use starling_node::store::Family::{self, Headers, Hints, Meta, Rows};
use starling_node::store::{Batch, Lsn, Visit};

use crate::{Subject, batch, rows};

/// Makes each function of this suite a test of a backend, so that none can be forgotten for one.
macro_rules! conforms {
    ($subject:ty) => {
        crate::suite::conforms! { $subject:
            a_row_is_what_was_put_last_until_it_is_deleted
            families_are_apart
            later_changes_win_inside_a_batch
            an_empty_batch_has_its_place_in_the_order
            a_scan_visits_its_range_in_the_order_of_keys
            a_scan_of_an_empty_or_reversed_range_visits_nothing
            a_scan_back_visits_what_a_scan_visits_in_reverse
            a_scan_stops_when_it_is_told_to
            keys_may_hold_any_byte
            an_empty_value_is_a_row
            a_large_value_comes_back_whole
            a_batch_is_readable_before_it_is_synced
            places_in_the_order_of_writes_rise_by_one
            a_sync_covers_every_batch_written_before_it
            what_was_synced_is_there_after_a_restart
            the_order_of_writes_starts_again_after_a_restart
            random_histories_match_a_model
        }
    };
    ($subject:ty: $($name:ident)*) => {
        $(#[test]
        fn $name() {
            crate::suite::$name::<$subject>();
        })*
    };
}
pub(crate) use conforms;

pub use crate::model::random_histories_match_a_model;

fn put(subject: &mut impl Subject, family: Family, key: &[u8], value: &[u8]) {
    subject.store().write(batch(&[(family, key, Some(value))])).unwrap();
}

fn get(subject: &mut impl Subject, family: Family, key: &[u8]) -> Option<Vec<u8>> {
    subject.store().get(family, key).unwrap()
}

pub fn a_row_is_what_was_put_last_until_it_is_deleted<S: Subject>() {
    let mut subject = S::fresh();
    assert_eq!(get(&mut subject, Rows, b"k"), None);
    put(&mut subject, Rows, b"k", b"one");
    assert_eq!(get(&mut subject, Rows, b"k"), Some(b"one".to_vec()));
    put(&mut subject, Rows, b"k", b"two");
    assert_eq!(get(&mut subject, Rows, b"k"), Some(b"two".to_vec()));
    for _ in 0..2 {
        subject.store().write(batch(&[(Rows, b"k", None)])).unwrap();
        assert_eq!(get(&mut subject, Rows, b"k"), None);
    }
}

pub fn families_are_apart<S: Subject>() {
    let mut subject = S::fresh();
    for family in Family::ALL {
        put(&mut subject, family, b"k", family.name().as_bytes());
    }
    subject.store().write(batch(&[(Hints, b"k", None)])).unwrap();
    for family in Family::ALL {
        let expected = (family != Hints).then(|| family.name().as_bytes().to_vec());
        assert_eq!(get(&mut subject, family, b"k"), expected);
        let scanned = rows(subject.store(), family, b"", None).unwrap();
        assert_eq!(scanned.len(), usize::from(family != Hints));
    }
}

pub fn later_changes_win_inside_a_batch<S: Subject>() {
    let mut subject = S::fresh();
    let changes = batch(&[
        (Rows, b"put twice", Some(b"one")),
        (Rows, b"put twice", Some(b"two")),
        (Rows, b"deleted last", Some(b"one")),
        (Rows, b"deleted last", None),
        (Headers, b"put last", None),
        (Headers, b"put last", Some(b"one")),
    ]);
    subject.store().write(changes).unwrap();
    assert_eq!(get(&mut subject, Rows, b"put twice"), Some(b"two".to_vec()));
    assert_eq!(get(&mut subject, Rows, b"deleted last"), None);
    assert_eq!(get(&mut subject, Headers, b"put last"), Some(b"one".to_vec()));
}

pub fn an_empty_batch_has_its_place_in_the_order<S: Subject>() {
    let mut subject = S::fresh();
    assert_eq!(subject.store().write(Batch::default()), Ok(Lsn(1)));
    assert_eq!(subject.store().write(Batch::default()), Ok(Lsn(2)));
    assert_eq!(subject.sync(), Lsn(2));
}

pub fn a_scan_visits_its_range_in_the_order_of_keys<S: Subject>() {
    let mut subject = S::fresh();
    for key in [&b"b"[..], b"a", b"ab", b"c", b"", b"bb"] {
        put(&mut subject, Rows, key, key);
    }
    let mut scan = |from: &[u8], until: Option<&[u8]>| -> Vec<Vec<u8>> {
        let found = rows(subject.store(), Rows, from, until).unwrap();
        assert!(found.iter().all(|(key, value)| key == value));
        found.into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(scan(b"", None), [&b""[..], b"a", b"ab", b"b", b"bb", b"c"]);
    assert_eq!(scan(b"ab", Some(b"bb")), [&b"ab"[..], b"b"]);
    assert_eq!(scan(b"aa", Some(b"bbb")), [&b"ab"[..], b"b", b"bb"]);
    assert_eq!(scan(b"bc", None), [b"c"]);
    assert_eq!(scan(b"", Some(b"a")), [b""]);
}

pub fn a_scan_of_an_empty_or_reversed_range_visits_nothing<S: Subject>() {
    let mut subject = S::fresh();
    put(&mut subject, Rows, b"b", b"");
    for (from, until) in [(&b"b"[..], &b"b"[..]), (b"c", b"b"), (b"a", b"b"), (b"", b"")] {
        assert_eq!(rows(subject.store(), Rows, from, Some(until)), Ok(vec![]));
    }
    assert_eq!(rows(subject.store(), Rows, b"c", None), Ok(vec![]));
}

pub fn a_scan_back_visits_what_a_scan_visits_in_reverse<S: Subject>() {
    let mut subject = S::fresh();
    let keys: [&[u8]; 6] = [b"", b"a", b"a\0", b"b", b"\xff", b"\xff\xff"];
    keys.iter().for_each(|key| put(&mut subject, Rows, key, key));
    put(&mut subject, Hints, b"aa", b"of another family");
    for from in keys {
        for until in keys.into_iter().map(Some).chain([None]) {
            let mut forward = rows(subject.store(), Rows, from, until).unwrap();
            forward.reverse();
            for stop in 1..=keys.len() {
                let mut back = Vec::new();
                let scanned = subject.store().scan_back(Rows, from, until, &mut |key, value| {
                    back.push((key.to_vec(), value.to_vec()));
                    if back.len() == stop { Visit::Stop } else { Visit::Next }
                });
                assert_eq!(scanned, Ok(()));
                assert_eq!(back, forward[..stop.min(forward.len())]);
            }
        }
    }
}

pub fn a_scan_stops_when_it_is_told_to<S: Subject>() {
    let mut subject = S::fresh();
    for key in [b"a", b"b", b"c"] {
        put(&mut subject, Rows, key, b"");
    }
    let mut visited = Vec::new();
    let mut visit = |key: &[u8], _: &[u8]| {
        visited.push(key.to_vec());
        if key == b"b" { Visit::Stop } else { Visit::Next }
    };
    subject.store().scan(Rows, b"", None, &mut visit).unwrap();
    assert_eq!(visited, [b"a", b"b"]);
}

pub fn keys_may_hold_any_byte<S: Subject>() {
    let mut subject = S::fresh();
    let keys: [&[u8]; 7] =
        [b"", b"\x00", b"\x00\x00", b"\x00\xff", b"\x7f\x80", b"\xff", b"\xff\xff"];
    for key in keys {
        put(&mut subject, Headers, key, key);
    }
    let all: Vec<_> = keys.iter().map(|key| (key.to_vec(), key.to_vec())).collect();
    assert_eq!(rows(subject.store(), Headers, b"", None).unwrap(), all);
    assert_eq!(rows(subject.store(), Headers, b"\x00\x00", Some(b"\xff")).unwrap(), all[2..5]);
    assert_eq!(rows(subject.store(), Headers, b"\xff\x00", None).unwrap(), all[6..]);
}

pub fn an_empty_value_is_a_row<S: Subject>() {
    let mut subject = S::fresh();
    put(&mut subject, Meta, b"k", b"");
    assert_eq!(get(&mut subject, Meta, b"k"), Some(vec![]));
    assert_eq!(rows(subject.store(), Meta, b"", None), Ok(vec![(b"k".to_vec(), vec![])]));
}

pub fn a_large_value_comes_back_whole<S: Subject>() {
    let mut subject = S::fresh();
    let large: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();
    assert_eq!(large.len(), 1 << 20);
    for key in 0..8_u8 {
        put(&mut subject, Rows, &[key], &large);
    }
    subject.sync();
    subject.restart();
    for key in 0..8_u8 {
        assert!(get(&mut subject, Rows, &[key]) == Some(large.clone()), "value {key} differs");
    }
}

pub fn a_batch_is_readable_before_it_is_synced<S: Subject>() {
    let mut subject = S::fresh();
    subject.sync();
    put(&mut subject, Rows, b"k", b"v");
    assert_eq!(get(&mut subject, Rows, b"k"), Some(b"v".to_vec()));
    assert_eq!(rows(subject.store(), Rows, b"", None).unwrap().len(), 1);
}

pub fn places_in_the_order_of_writes_rise_by_one<S: Subject>() {
    let mut subject = S::fresh();
    for place in 1..=50 {
        let changes = batch(&[(Rows, b"k", Some(&[place as u8]))]);
        assert_eq!(subject.store().write(changes), Ok(Lsn(place)));
        if place % 7 == 0 {
            assert_eq!(subject.sync(), Lsn(place));
        }
    }
}

pub fn a_sync_covers_every_batch_written_before_it<S: Subject>() {
    let mut subject = S::fresh();
    assert_eq!(subject.sync(), Lsn(0));
    put(&mut subject, Rows, b"a", b"");
    put(&mut subject, Rows, b"b", b"");
    assert_eq!(subject.sync(), Lsn(2));
    assert_eq!(subject.sync(), Lsn(2));
    put(&mut subject, Rows, b"c", b"");
    assert_eq!(subject.sync(), Lsn(3));
}

pub fn what_was_synced_is_there_after_a_restart<S: Subject>() {
    let mut subject = S::fresh();
    put(&mut subject, Rows, b"gone", b"1");
    put(&mut subject, Rows, b"kept", b"1");
    subject.sync();
    subject.restart();
    let changes = batch(&[(Rows, b"gone", None), (Rows, b"kept", Some(b"2"))]);
    subject.store().write(changes).unwrap();
    put(&mut subject, Meta, b"state", b"3");
    subject.sync();
    subject.restart();
    assert_eq!(rows(subject.store(), Rows, b"", None), Ok(vec![(b"kept".into(), b"2".into())]));
    assert_eq!(get(&mut subject, Meta, b"state"), Some(b"3".to_vec()));
}

pub fn the_order_of_writes_starts_again_after_a_restart<S: Subject>() {
    let mut subject = S::fresh();
    put(&mut subject, Rows, b"a", b"");
    put(&mut subject, Rows, b"b", b"");
    subject.sync();
    subject.restart();
    assert_eq!(subject.sync(), Lsn(0));
    assert_eq!(subject.store().write(batch(&[(Rows, b"c", Some(b""))])), Ok(Lsn(1)));
    assert_eq!(subject.sync(), Lsn(1));
}
