//! Every metric of the core in one table: name, kind, meaning. The shell adds its own families
//! and writes the text form.

macro_rules! metrics {
    ($($variant:ident $name:literal $kind:ident $help:literal;)*) => {
        /// A metric of the core.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Metric { $(#[doc = $help] $variant,)* }

        /// Name, kind and meaning of each, in the order of [`Metric`].
        pub const TABLE: &[(&str, Kind, &str)] = &[$(($name, Kind::$kind, $help),)*];
    };
}

/// How a metric behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

metrics! {
    WritesAcked "starling_writes_acknowledged_total" Counter "Client writes acknowledged.";
    WritesUnknown "starling_writes_unknown_total" Counter "Client writes whose deadline passed with too few acknowledgements.";
    WritesUnavailable "starling_writes_unavailable_total" Counter "Client writes refused with nothing applied.";
    WritesRefused "starling_writes_refused_total" Counter "Client writes refused by the type's own limits.";
    AcksOwner "starling_acks_owner_total" Counter "Acknowledgements by owners counted towards a write.";
    AcksHint "starling_acks_hint_total" Counter "Acknowledgements by stand-ins counted towards a write.";
    ReadsServed "starling_reads_served_total" Counter "Client reads answered.";
    ReadsUnavailable "starling_reads_unavailable_total" Counter "Client reads that reached too few replicas.";
    ReadsDiverged "starling_reads_diverged_total" Counter "Client reads that found replicas differing.";
    RepairsSent "starling_repairs_sent_total" Counter "States sent to replicas that a read or an exchange found stale.";
    Hedges "starling_hedges_total" Counter "Replicas asked because another one was slow.";
    Shed "starling_requests_shed_total" Counter "Requests refused because too many were open.";
    Open "starling_requests_open" Gauge "Requests open in the coordinator.";
    Applied "starling_operations_applied_total" Counter "Client operations applied by this replica.";
    Repeated "starling_operations_repeated_total" Counter "Operations asked again with their key that were known to be applied, and so were answered only.";
    Doubled "starling_operations_doubled_total" Counter "Times that this replica learned of an operation that several replicas applied under one key, and counted it once.";
    Joined "starling_deltas_joined_total" Counter "Deltas joined by this replica.";
    JoinedNew "starling_deltas_new_total" Counter "Deltas among those joined that changed something.";
    HintsMade "starling_hints_created_total" Counter "Hint marks created.";
    HintsDelivered "starling_hints_delivered_total" Counter "Hint marks delivered and deleted.";
    HintsDropped "starling_hints_dropped_total" Counter "Hint marks not kept because their target is at its cap; anti-entropy owes them.";
    HintsPending "starling_hints_pending" Gauge "Hint marks waiting for their target.";
    HintsOldest "starling_hints_oldest_age_seconds" Gauge "Time for which some member has been owed hints without a break, the longest of all members, since this start at most.";
    Exchanges "starling_exchanges_total" Counter "Digest tree comparisons begun.";
    ExchangeObjects "starling_exchange_objects_total" Counter "Objects that comparisons found differing.";
    Unproven "starling_exchange_unproven_seconds" Gauge "Time since some partition was last found equal to some other member's, the longest of all, since this start at most.";
    Collected "starling_rows_collected_total" Counter "Rows of removed sets and delivered stand-in copies deleted in the background.";
    SettleRounds "starling_settle_rounds_total" Counter "Times that this node asked all members whether the context of removed objects may go.";
    SettleAgreed "starling_settle_agreed_total" Counter "Times that all of them agreed.";
    ContextsCollected "starling_contexts_collected_total" Counter "Removed objects of which nothing is kept any more.";
    StaleDots "starling_stale_dots_total" Counter "Copies of long removed content that came from elsewhere and were refused.";
    ObjectsExpired "starling_objects_expired_total" Counter "Objects whose instant of expiry came.";
    ExpiredCollected "starling_objects_expired_collected_total" Counter "Expired objects whose content was deleted in the background.";
    Syncs "starling_syncs_total" Counter "Group commits completed.";
    SyncWaiting "starling_sync_waiting" Gauge "Acknowledgements waiting for the next group commit.";
    EpochChanges "starling_epoch_changes_total" Counter "New actor epochs taken while running.";
    ClockIgnored "starling_clock_ahead_ignored_total" Counter "Timestamps more than 500 ms ahead that the clock did not follow.";
    PeerMisdirected "starling_peer_misdirected_total" Counter "Messages refused because the sender worked with another layout.";
    PeerMalformed "starling_peer_malformed_total" Counter "Messages dropped because a state in them is none that a node can have.";
    StoreErrors "starling_store_errors_total" Counter "Reads or writes of the store that failed.";
    ObjectsDamaged "starling_objects_damaged_total" Counter "Objects found damaged on this node's disk.";
    ObjectsMended "starling_objects_mended_total" Counter "Damaged objects replaced by another owner's state.";
    ObjectsLost "starling_objects_lost_total" Counter "Damaged objects that no other owner has anything of: acknowledged data is lost.";
    Damaged "starling_objects_damaged" Gauge "Objects damaged on this node's disk and not mended yet.";
    ScrubbedRows "starling_scrubbed_rows_total" Counter "Rows read only to see whether they are intact.";
    Scrubs "starling_scrubs_total" Counter "Times that all rows were read to see whether they are intact.";
    CorruptRows "starling_corrupt_rows_total" Counter "Rows that failed their check when read.";
    RightsAsked "starling_rights_asked_total" Counter "Replicas asked for rights to a bounded counter because a decrement was not covered.";
    RightsGiven "starling_rights_given_total" Counter "Times that this replica gave rights to a bounded counter to another one.";
    LayoutVersion "starling_layout_version" Gauge "Version of the layout in force, 0 before the first.";
    MembersAlive "starling_members_alive" Gauge "Members that the failure detector hears, this node included.";
    MembersKnown "starling_members_known" Gauge "Members known, alive or not.";
}

/// Values of all metrics of one core.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metrics {
    values: Vec<u64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics { values: vec![0; TABLE.len()] }
    }
}

impl Metrics {
    /// Counts one.
    pub fn count(&mut self, metric: Metric) {
        self.add(metric, 1);
    }

    /// Counts `amount`.
    pub fn add(&mut self, metric: Metric, amount: u64) {
        self.values[metric as usize] += amount;
    }

    /// Sets a gauge.
    pub fn set(&mut self, metric: Metric, value: u64) {
        self.values[metric as usize] = value;
    }

    /// The value.
    pub fn get(&self, metric: Metric) -> u64 {
        self.values[metric as usize]
    }

    /// The sums of both, metric by metric.
    pub fn plus(&self, other: &Metrics) -> Metrics {
        let sums = self.values.iter().zip(&other.values).map(|(mine, theirs)| mine + theirs);
        Metrics { values: sums.collect() }
    }

    /// Name, kind, meaning and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Kind, &'static str, u64)> {
        TABLE
            .iter()
            .zip(&self.values)
            .map(|(&(name, kind, help), value)| (name, kind, help, *value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_convention_and_are_unique() {
        let mut names: Vec<_> = TABLE.iter().map(|(name, ..)| *name).collect();
        for (name, kind, help) in TABLE {
            assert!(name.starts_with("starling_") && help.ends_with('.'));
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }
}
