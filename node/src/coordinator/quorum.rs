//! How many replicas a request needs: from its options and its bucket, checked for sense.

use crate::config::BucketProps;
use crate::crdt::expiry::TTL_MAX_S;
use crate::crdt::note::ONCE_KEY_BYTES_MAX;
use crate::crdt::{CounterOp, ObjectOp};
use crate::placement::N_ALL;
use crate::wire::api::{Durable, Failure, Options, Quorum};

/// The longest time a request may take, ms.
pub const TIMEOUT_MAX_MS: u32 = 60_000;

/// What a write waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct WriteNeeds {
    /// Replicas in all.
    pub w: usize,
    /// Owners among them.
    pub pw: usize,
    /// Distinct zones among them.
    pub zones: usize,
    /// Replicas that have it on disk.
    pub durable: usize,
}

/// What a read waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ReadNeeds {
    /// Replicas that answer.
    pub r: usize,
    /// Owners among them.
    pub pr: usize,
}

/// What a write needs with `replicas` owners.
pub(super) fn write_needs(
    options: &Options,
    bucket: &BucketProps,
    replicas: usize,
) -> Result<WriteNeeds, Failure> {
    let w = replicas_for("w", options.w, bucket, replicas)?;
    let pw = replicas_for("pw", options.pw, bucket, replicas)?.unwrap_or(0);
    let w = w.unwrap_or_else(|| bucket.w.of(replicas).min(replicas)).max(pw);
    let zones = usize::from(options.zones.unwrap_or(0));
    if options.zones == Some(0) || zones > usize::from(bucket.n) {
        return Err(bad("zones", format!("{zones} is not from 1 to n={}", bucket.n)));
    }
    let durable = match options.durable {
        Durable::Default | Durable::None => 0,
        Durable::One => 1,
        Durable::Quorum => Quorum::Quorum.of(replicas),
        Durable::All => replicas,
    };
    Ok(WriteNeeds { w: w.max(durable).max(zones), pw, zones, durable })
}

/// What a read needs with `replicas` owners.
pub(super) fn read_needs(
    options: &Options,
    bucket: &BucketProps,
    replicas: usize,
) -> Result<ReadNeeds, Failure> {
    let r = replicas_for("r", options.r, bucket, replicas)?;
    let pr = replicas_for("pr", options.pr, bucket, replicas)?.unwrap_or(0);
    Ok(ReadNeeds { r: r.unwrap_or_else(|| bucket.r.of(replicas).min(replicas)).max(pr), pr })
}

/// The time a request may take, ms.
pub(super) fn timeout_ms(options: &Options, default: u32) -> Result<u32, Failure> {
    match options.timeout_ms {
        None => Ok(default),
        Some(ms) if (1..=TIMEOUT_MAX_MS).contains(&ms) => Ok(ms),
        Some(ms) => Err(bad("timeout_ms", format!("{ms} is not from 1 to {TIMEOUT_MAX_MS}"))),
    }
}

/// Whether the operation can have the key that it has, if it has one.
pub(super) fn check_once(op: &ObjectOp, options: &Options) -> Result<(), Failure> {
    let Some(once) = &options.once else { return Ok(()) };
    let fits = matches!(op, ObjectOp::Counter(CounterOp::Add { .. } | CounterOp::Reset { .. }));
    match once.key.len() {
        _ if !fits => Err(bad("Idempotency-Key", "only changes of counters take one".into())),
        1..=ONCE_KEY_BYTES_MAX => Ok(()),
        length => {
            let text = format!("{length} bytes are not 1 to {ONCE_KEY_BYTES_MAX}");
            Err(bad("Idempotency-Key", text))
        }
    }
}

/// What every request is told before there are owners.
pub(super) fn no_layout() -> Failure {
    Failure::Unavailable(
        "the cluster has no layout yet: run `starling cluster apply` when its members have met"
            .into(),
    )
}

fn replicas_for(
    parameter: &'static str,
    quorum: Option<Quorum>,
    bucket: &BucketProps,
    replicas: usize,
) -> Result<Option<usize>, Failure> {
    let n = if bucket.n == N_ALL { replicas } else { usize::from(bucket.n) };
    match quorum {
        None => Ok(None),
        Some(Quorum::Count(count)) if count == 0 || usize::from(count) > n => {
            Err(bad(parameter, format!("{count} is not from 1 to n={n}")))
        }
        Some(quorum) => Ok(Some(quorum.of(replicas))),
    }
}

fn bad(parameter: &'static str, detail: String) -> Failure {
    Failure::BadParameter { parameter, detail }
}

/// Whether properties make sense; names the one that does not.
pub(super) fn check_bucket(props: &BucketProps) -> Result<(), Failure> {
    if !(1..=crate::placement::N_MAX).contains(&props.n) {
        let most = crate::placement::N_MAX;
        return Err(bad("n", format!("{} is not from 1 to {most}", props.n)));
    }
    let replicas = props.n.into();
    replicas_for("r", Some(props.r), props, replicas)?;
    replicas_for("w", Some(props.w), props, replicas)?;
    match props.ttl_seconds {
        Some(seconds) if !(1..=TTL_MAX_S).contains(&seconds) => {
            Err(bad("ttl_seconds", format!("{seconds} is not from 1 to {TTL_MAX_S}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_quorum_is_refused_and_named() {
        let bucket = BucketProps::default();
        for count in [0, 4] {
            let options = Options { r: Some(Quorum::Count(count)), ..Options::default() };
            let refused = read_needs(&options, &bucket, 3);
            assert!(matches!(refused, Err(Failure::BadParameter { parameter: "r", .. })));
        }
        let options = Options { zones: Some(4), ..Options::default() };
        let refused = write_needs(&options, &bucket, 3);
        assert!(matches!(refused, Err(Failure::BadParameter { parameter: "zones", .. })));
    }

    #[test]
    fn named_quorums_follow_the_replicas_there_are() {
        let bucket = BucketProps::default();
        let needs = |replicas| write_needs(&Options::default(), &bucket, replicas).unwrap().w;
        assert_eq!([needs(1), needs(2), needs(3)], [1, 2, 2]);
    }

    #[test]
    fn durable_and_primary_needs_raise_w() {
        let options = Options {
            w: Some(Quorum::One),
            pw: Some(Quorum::Quorum),
            durable: Durable::All,
            ..Options::default()
        };
        let needs = write_needs(&options, &BucketProps::default(), 3).unwrap();
        assert_eq!(needs, WriteNeeds { w: 3, pw: 2, zones: 0, durable: 3 });
    }
}
