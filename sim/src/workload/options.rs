//! How operations ask for replicas, now and then for more than there can be.

use crate::history::Action;
use crate::random::Rng;
use rand::Rng as _;
use rand::seq::IndexedRandom;
use starling_node::wire::api::{Durable, Options, Quorum};

const POSSIBLE: [Quorum; 6] = [
    Quorum::One,
    Quorum::Quorum,
    Quorum::All,
    Quorum::Count(1),
    Quorum::Count(2),
    Quorum::Count(3),
];
const IMPOSSIBLE: [Quorum; 3] = [Quorum::Count(0), Quorum::Count(4), Quorum::Count(255)];

/// Options, and whether they are impossible for three replicas.
pub(super) fn draw(rng: &mut Rng, action: &Action) -> (Options, bool) {
    let mut options = Options::default();
    if rng.random_bool(0.4) {
        return (options, false);
    }
    let impossible = rng.random_bool(0.03);
    let quorums: &[Quorum] = if impossible { &IMPOSSIBLE } else { &POSSIBLE };
    let main = quorums.choose(rng).copied();
    let by_owners = rng.random_bool(0.3).then(|| *POSSIBLE.choose(rng).expect("not empty"));
    match action {
        Action::Write(_) => {
            (options.w, options.pw) = (main, by_owners);
            options.zones = rng.random_bool(0.1).then(|| rng.random_range(1..=3));
            options.durable = match rng.random_range(0..20) {
                0 => Durable::None,
                1 => Durable::One,
                2 => Durable::Quorum,
                3 => Durable::All,
                _ => Durable::Default,
            };
        }
        Action::Read(_) => (options.r, options.pr) = (main, by_owners),
    }
    options.timeout_ms = rng.random_bool(0.2).then(|| rng.random_range(50..3_000));
    (options, impossible)
}
