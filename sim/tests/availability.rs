//! What the formulas of docs/availability.md say of nodes that are down is what real cores under
//! the same outages measure, and the table there is what the formulas come to.

use starling_sim::scenario::{parse, run_setup};

const NODES: usize = 5;
const N: usize = 3;
/// Of the operations of a scenario, those that ask for one replica; the others take the bucket's.
const ASK_ONE: f64 = 0.25;

fn choose(n: usize, k: usize) -> f64 {
    if k > n { 0.0 } else { (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product() }
}

/// Fewer than `needed` of `of` nodes are up, each with probability `p`, on its own.
fn too_few(needed: usize, of: usize, p: f64) -> f64 {
    let exactly = |up| choose(of, up) * p.powi(up as i32) * (1.0 - p).powi((of - up) as i32);
    (0..needed).map(exactly).sum()
}

/// At least `needed` of an object's `N` owners are up while `down` of `NODES` are not, all
/// choices of the latter alike.
fn owners_up(needed: usize, down: usize) -> f64 {
    let exactly = |up: usize| match down.checked_sub(N - up) {
        Some(others) => choose(N, up) * choose(NODES - N, others) / choose(NODES, down),
        None => 0.0,
    };
    (needed..=N).map(exactly).sum()
}

/// Figures under a fault, averaged over all choices of `down` nodes: of all operations, of writes.
fn measured(down: usize, sloppy: bool) -> (f64, f64) {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/a-zone-lost.toml");
    let text = std::fs::read_to_string(shipped).unwrap();
    let text = text
        .replace(r#"["a", "b", "c", "a", "b"]"#, r#"["a", "b", "c", "d", "e"]"#)
        .replace("seconds = 60", "seconds = 20")
        .replace("skew = 0.99", "skew = 0.0")
        .replace("keys = 200", "keys = 60")
        .replace("sloppy = true", &format!("sloppy = {sloppy}"))
        .replace("from_s = 15", "from_s = 2")
        .replace("until_s = 45", "until_s = 18");
    let sets = (0..1u32 << NODES).filter(|set| set.count_ones() as usize == down);
    let (mut all, mut writes, mut runs) = (0.0, 0.0, 0.0);
    for set in sets {
        let nodes: Vec<usize> = (0..NODES).filter(|node| set & (1 << node) != 0).collect();
        let scenario = parse("down", &text.replace("[0, 3]", &format!("{nodes:?}"))).unwrap();
        let verdict = run_setup(scenario.setup(None), None).verdict;
        assert!(verdict.is_clean(), "{nodes:?} down: {:#?}", verdict.violations);
        let figures = verdict.figures.unwrap();
        assert!(figures.operations > 1_800, "{figures:#?}");
        all += figures.availability.unwrap();
        writes += figures.availability_writes.unwrap();
        runs += 1.0;
    }
    assert_eq!(runs, choose(NODES, down));
    (all / runs, writes / runs)
}

#[track_caller]
fn close(measured: f64, computed: f64) {
    // Clients and keys are drawn, and for seconds nobody knows yet who is down.
    assert!((measured - computed).abs() < 0.015, "measured {measured}, computed {computed}");
}

#[test]
fn strict_quorums_are_as_available_as_their_owners() {
    let live = (NODES - 2) as f64 / NODES as f64;
    let computed = live * (ASK_ONE * owners_up(1, 2) + (1.0 - ASK_ONE) * owners_up(2, 2));
    let (all, writes) = measured(2, false);
    close(all, computed);
    close(writes, computed);
}

#[test]
fn sloppy_writes_are_as_available_as_any_nodes() {
    // Two of five are up, and W is at most two: every node that is up accepts every write.
    let (_, writes) = measured(3, true);
    close(writes, 2.0 / 5.0);
}

#[test]
fn the_table_in_the_documents_is_what_the_formulas_come_to() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/availability.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| 0.9"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() >= 10, "the table is there");
    for row in rows {
        let [p, nodes, n, needed, strict, sloppy] = row[..] else { panic!("{row:?}") };
        let p: f64 = p.parse().unwrap();
        let [nodes, n, needed] = [nodes, n, needed].map(|cell| cell.parse::<usize>().unwrap());
        let lost = |of| format!("{:.2e}", too_few(needed, of, p));
        assert_eq!([strict, sloppy], [lost(n), lost(nodes)], "{row:?}");
    }
}

#[test]
fn the_formulas_are_right_where_they_are_known() {
    assert!((too_few(1, 3, 0.9) - 0.001).abs() < 1e-12);
    assert!((too_few(2, 3, 0.9) - 0.028).abs() < 1e-12);
    assert!((owners_up(2, 2) - 0.7).abs() < 1e-12);
    assert!((owners_up(1, 3) - 0.9).abs() < 1e-12);
    assert!((owners_up(3, 0) - 1.0).abs() < 1e-12);
}
