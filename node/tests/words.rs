//! Real input: every word of a dictionary goes in through all three nodes as a counter increment,
//! a set member and a register, while one node is killed and started again and another is paused.
//! Afterwards every acknowledged write is on all owners, and nothing else is.
//!
//! `STARLING_WORDS` sets how many words (4,000 unless set, `all` for the whole list), and
//! `STARLING_PAUSE_S` how long the pause is (35 s with all words, 8 s otherwise).
#![cfg(feature = "server")]
// Tests of running processes use files, clocks and random order.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod dev_support;

use dev_support::{Dev, signal, until};
use starling_client::{Client, Error, Options, Quorum};
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LIST: &str = "/usr/share/dict/words";
const WRITERS: usize = 24;

/// What became of the writes of one kind.
#[derive(Default)]
struct Told {
    acked: BTreeSet<String>,
    unknown: BTreeSet<String>,
    refused: usize,
}

impl Told {
    fn note<T>(&mut self, word: &str, outcome: Result<T, Error>) {
        match outcome {
            Ok(_) => {
                self.acked.insert(word.into());
            }
            Err(error) if error.is_unavailable() || error.is_overloaded() => self.refused += 1,
            Err(error) if error.is_unknown() => {
                self.unknown.insert(word.into());
            }
            Err(error) => panic!("{word}: {error}"),
        }
    }
}

#[derive(Default)]
struct Books {
    counted: Mutex<Told>,
    members: Mutex<Told>,
    values: Mutex<Told>,
}

fn words() -> Vec<String> {
    let text = std::fs::read_to_string(LIST)
        .unwrap_or_else(|why| panic!("{LIST}: {why}; `.ci/setup test` installs wamerican"));
    let all: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let all: Vec<String> = all.into_iter().collect();
    match std::env::var("STARLING_WORDS").as_deref() {
        Ok("all") => all,
        Ok(count) => thinned(all, count.parse().expect("a number of words")),
        Err(_) => thinned(all, 4_000),
    }
}

fn thinned(all: Vec<String>, count: usize) -> Vec<String> {
    let step = (all.len() / count.max(1)).max(1);
    all.into_iter().step_by(step).collect()
}

/// Counters are shared by words that begin alike, so that several nodes count in one.
fn counter_of(word: &str) -> String {
    word.chars().take(2).collect::<String>().to_lowercase()
}

async fn write_all(
    dev_port: u16,
    words: Arc<Vec<String>>,
    books: Arc<Books>,
    at: Arc<AtomicUsize>,
) {
    let urls = (0..3).map(|node| format!("http://127.0.0.1:{}", dev_port + node));
    // One attempt: what became of each is noted down.
    let once = Options { attempts: 1, ..Options::default() };
    let client = |url| Client::connect([url]).expect("a url").with_options(once.clone());
    let clients: Vec<Client> = urls.map(client).collect();
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let (words, books, at) = (words.clone(), books.clone(), at.clone());
        let clients = clients.clone();
        writers.push(tokio::spawn(async move {
            loop {
                let next = at.fetch_add(1, Ordering::Relaxed);
                let Some(word) = words.get(next) else { return };
                let client = &clients[next % clients.len()];
                let counted = client.counter("words", counter_of(word)).increment(1).await;
                books.counted.lock().expect("no panic").note(word, counted);
                let member = client.set("words", "all").add([word]).await;
                books.members.lock().expect("no panic").note(word, member);
                let value = client.kv("words").put(word, word.clone()).await;
                books.values.lock().expect("no panic").note(word, value);
            }
        }));
    }
    for writer in writers {
        writer.await.expect("a writer ends well");
    }
}

#[test]
fn acknowledged_words_are_on_all_owners_after_a_kill_and_a_pause() {
    let words = Arc::new(words());
    let all = std::env::var("STARLING_WORDS").as_deref() == Ok("all");
    let pause = match std::env::var("STARLING_PAUSE_S") {
        Ok(seconds) => Duration::from_secs(seconds.parse().expect("a number of seconds")),
        Err(_) => Duration::from_secs(if all { 35 } else { 8 }),
    };
    let dir = tempfile::tempdir().expect("a directory");
    let dev = Dev::new(dir.path(), 3);
    dev.ready();
    let (books, at) = (Arc::new(Books::default()), Arc::new(AtomicUsize::new(0)));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let begun = Instant::now();
    let writing = {
        let (words, books, at) = (words.clone(), books.clone(), at.clone());
        runtime.spawn(write_all(dev.port, words, books, at))
    };
    let reached = |share: usize| at.load(Ordering::Relaxed) >= words.len() * share / 100;
    until_long("a third is written", || reached(33));
    signal(dev.node(1), "KILL");
    assert!(dev.says("node1 ended").contains("SIGKILL"));
    let again = dev.says(" start ").trim().to_owned();
    until_long("half is written", || reached(50));
    let mut node = Command::new("sh")
        .args(["-c", &format!("exec {again}")])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    until_long("two thirds are written", || reached(66));
    signal(dev.node(2), "STOP");
    std::thread::sleep(pause);
    signal(dev.node(2), "CONT");
    runtime.block_on(writing).expect("writing ends well");
    eprintln!("{} words written in {:.1} s", words.len(), begun.elapsed().as_secs_f64());
    let settled = Instant::now();
    until("all hints are delivered", || hints_owed(&dev) == 0);
    eprintln!("no hint is owed after {:.1} s more", settled.elapsed().as_secs_f64());
    runtime.block_on(check(&dev, &words, &books));
    signal(node.id(), "TERM");
    node.wait().expect("it is a child");
}

fn until_long(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(900), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn hints_owed(dev: &Dev) -> u64 {
    let owed = |node| {
        let metrics = dev.curl(node, "/metrics");
        let line = metrics.lines().find(|line| line.starts_with("starling_hints_pending "));
        let value = line.and_then(|line| line.split(' ').nth(1));
        value.and_then(|value| value.parse::<f64>().ok()).expect("the gauge is there") as u64
    };
    (0..3).map(owed).sum()
}

async fn check(dev: &Dev, words: &[String], books: &Books) {
    let url = format!("http://127.0.0.1:{}", dev.port);
    let everyone = Options { r: Some(Quorum::All), ..Options::default() };
    let client = Client::connect([url]).expect("a url").with_options(everyone);
    let closed = |book: &Mutex<Told>| std::mem::take(&mut *book.lock().expect("no panic"));
    let (counted, members) = (closed(&books.counted), closed(&books.members));
    let values = closed(&books.values);
    for (kind, told) in [("counted", &counted), ("members", &members), ("values", &values)] {
        let (acked, unknown) = (told.acked.len(), told.unknown.len());
        eprintln!("{kind}: {acked} acknowledged, {unknown} unknown, {} refused", told.refused);
        assert!(acked * 10 > words.len() * 8, "most writes are acknowledged");
    }
    check_counters(&client, &counted).await;
    check_set(&client, &members).await;
    check_values(&client, words, &values).await;
    check_owners(dev, &counted, &values);
}

async fn check_counters(client: &Client, told: &Told) {
    let mut sums: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for word in &told.acked {
        sums.entry(counter_of(word)).or_default().0 += 1;
    }
    for word in &told.unknown {
        sums.entry(counter_of(word)).or_default().1 += 1;
    }
    let mut total = 0;
    for (key, (acked, unknown)) in sums {
        let value = match client.counter("words", &key).get().await {
            Ok(value) => value,
            Err(error) if error.is_not_found() => 0,
            Err(error) => panic!("{key}: {error}"),
        };
        assert!((acked..=acked + unknown).contains(&value), "{key}: {value}, {acked} + {unknown}");
        total += value;
    }
    eprintln!("counters: {total} in all, {} acknowledged", told.acked.len());
}

async fn check_set(client: &Client, told: &Told) {
    let set = client.set("words", "all");
    let mut found = BTreeSet::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = set.page(after.as_deref(), 1_000).await.expect("a page");
        found.extend(page.members);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let acked: BTreeSet<Vec<u8>> = told.acked.iter().map(|word| word.clone().into()).collect();
    let unknown: BTreeSet<Vec<u8>> = told.unknown.iter().map(|word| word.clone().into()).collect();
    assert!(acked.is_subset(&found), "{} are missing", acked.difference(&found).count());
    let invented: Vec<_> = found.difference(&acked).filter(|m| !unknown.contains(*m)).collect();
    assert!(invented.is_empty(), "{invented:?}");
    eprintln!("set: {} members, {} acknowledged", found.len(), acked.len());
}

async fn check_values(client: &Client, words: &[String], told: &Told) {
    let kv = client.kv("words");
    for word in words {
        match kv.get(word).await {
            Ok(value) => {
                assert_eq!(value.bytes(), word.as_bytes());
                assert_eq!(value.siblings().len(), 1);
                assert!(told.acked.contains(word) || told.unknown.contains(word), "{word}");
            }
            Err(error) if error.is_not_found() => assert!(!told.acked.contains(word), "{word}"),
            Err(error) => panic!("{word}: {error}"),
        }
    }
    eprintln!("registers: {} acknowledged, each at r=all", told.acked.len());
}

/// Every owner's own word, for each counter, for the set and for one register in fifty.
fn check_owners(dev: &Dev, counted: &Told, values: &Told) {
    let counters: BTreeSet<String> = counted.acked.iter().map(|word| counter_of(word)).collect();
    let mut paths: Vec<String> = vec!["set/words/all".into()];
    paths.extend(counters.iter().map(|key| format!("counter/words/{}", percent(key))));
    let registers = values.acked.iter().step_by(50);
    paths.extend(registers.map(|word| format!("kv/words/{}", percent(word))));
    for path in &paths {
        let report = dev.curl(1, &format!("/v1/explain/{path}"));
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!(report["owners_agree"], true, "{path}: {report}");
        let owners = report["replicas"].as_array().into_iter().flatten();
        assert_eq!(owners.filter(|replica| replica["owner"] == true).count(), 3, "{report}");
        assert_eq!(report["silent"], serde_json::json!([]), "{report}");
    }
    eprintln!("explain: three equal owners for each of {} objects", paths.len());
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
