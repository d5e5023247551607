//! Every metric of the shell in one table: name, kind, meaning. The core's are in
//! [`crate::metrics`]; `/metrics` is both. No label has values that a client can choose.

use super::histogram::Reading;
use std::borrow::Cow;

macro_rules! families {
    ($($family:ident $name:literal $kind:literal $help:literal;)*) => {
        /// A metric family of the shell.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Family { $(#[doc = $help] $family,)* }

        /// Name, kind and meaning of each, in the order of [`Family`].
        pub const TABLE: &[(&str, &str, &str)] = &[$(($name, $kind, $help),)*];

        const ALL: &[Family] = &[$(Family::$family,)*];
    };
}

families! {
    Requests "starling_http_requests_total" "counter" "HTTP requests answered, by operation, path, method and class of status.";
    Latency "starling_http_request_duration_seconds" "histogram" "Time from the headers read to the answer made, by operation.";
    Problems "starling_http_problems_total" "counter" "Error answers, by code.";
    InFlight "starling_http_requests_in_flight" "gauge" "HTTP requests under way.";
    ConnectionsOpen "starling_http_connections_open" "gauge" "HTTP connections open.";
    Connections "starling_http_connections_total" "counter" "HTTP connections accepted.";
    BytesIn "starling_http_request_body_bytes_total" "counter" "Bytes of request bodies read.";
    BytesOut "starling_http_response_body_bytes_total" "counter" "Bytes of answer bodies.";
    ContextsOmitted "starling_http_contexts_omitted_total" "counter" "Answers whose context was too long for a header.";
    Data "starling_requests_total" "counter" "Requests for data, by type, by operation (read, write, remove) and by outcome.";
    DataLatency "starling_request_duration_seconds" "histogram" "Time that requests for data took, by operation and by the consistency that was asked for.";
    ContextBytes "starling_context_bytes" "histogram" "Length of contexts handed to clients, sealed.";
    Siblings "starling_kv_siblings" "histogram" "Siblings found by reads of values that are there.";
    Refused "starling_requests_refused_total" "counter" "Requests refused before the core saw them because too many waited.";
    Waiting "starling_requests_waiting" "gauge" "Requests that wait for the core.";
    CoreBusy "starling_core_busy_seconds_total" "counter" "Time that the core's thread worked; 1 a second is all that it can.";
    CoreTurns "starling_core_turns_total" "counter" "Times that the core's thread took what waited for it.";
    CoreInputs "starling_core_inputs_total" "counter" "Requests, messages and completed syncs that the core took.";
    SyncDuration "starling_sync_duration_seconds" "histogram" "Time that syncs of the store took.";
    SyncBatches "starling_sync_batches" "histogram" "Batches that one sync put on disk.";
    PeerAlive "starling_peer_alive" "gauge" "Whether gossip hears the peer, 1 or 0.";
    PeerConnected "starling_peer_connected" "gauge" "Whether the connection to the peer stands, 1 or 0.";
    PeerCalls "starling_peer_calls_total" "counter" "Requests sent to the peer on behalf of clients.";
    PeerFailed "starling_peer_calls_failed_total" "counter" "Requests to the peer that were not sent, or came back refused.";
    PeerLatency "starling_peer_call_duration_seconds" "histogram" "Time until the peer's answer; one request a peer at a time is timed.";
    PeerUnanswered "starling_peer_calls_unanswered_total" "counter" "Timed requests whose answer did not come within 5 seconds.";
    PeerSent "starling_peer_sent_bytes_total" "counter" "Bytes of frames sent to the peer, before encryption.";
    PeerReceived "starling_peer_received_bytes_total" "counter" "Bytes of frames received from the peer, after decryption.";
    PeerFramesSent "starling_peer_sent_frames_total" "counter" "Frames sent to the peer.";
    PeerFramesReceived "starling_peer_received_frames_total" "counter" "Frames received from the peer.";
    PeerDropped "starling_peer_dropped_frames_total" "counter" "Frames dropped because the peer's queue was full or the peer out of reach.";
    PeerQueued "starling_peer_queued_frames" "gauge" "Frames that wait for the peer.";
    Handshakes "starling_peer_handshakes_refused_total" "counter" "Connections from peers or to them that failed before they were authenticated.";
    FramesRefused "starling_peer_frames_refused_total" "counter" "Frames from peers that were torn, corrupt or too long; each ended its connection.";
    PeersRefused "starling_peer_connections_refused_total" "counter" "Connections from peers closed at once because too many were open.";
    Twins "starling_gossip_twins_total" "counter" "Times that two live nodes of one name were seen.";
    GossipRefused "starling_gossip_datagrams_refused_total" "counter" "Gossip datagrams that were junk, sealed with another key or replayed.";
    GossipSent "starling_gossip_sent_bytes_total" "counter" "Bytes of gossip sent, seals included.";
    GossipReceived "starling_gossip_received_bytes_total" "counter" "Bytes of gossip received, refused ones included.";
    TableBytes "starling_storage_table_bytes" "gauge" "Bytes of live tables on disk.";
    Tables "starling_storage_tables" "gauge" "Live tables on disk.";
    Rows "starling_storage_rows_estimate" "gauge" "Rows, as the store estimates.";
    MemtableBytes "starling_storage_memtable_bytes" "gauge" "Bytes of rows in memory.";
    PendingCompaction "starling_storage_pending_compaction_bytes" "gauge" "Bytes that compaction has still to rewrite.";
    CacheBytes "starling_storage_cache_bytes" "gauge" "Bytes in the block cache, memtables included.";
    CachePinned "starling_storage_cache_pinned_bytes" "gauge" "Bytes in the block cache that cannot be evicted now.";
    CacheCapacity "starling_storage_cache_capacity_bytes" "gauge" "Bytes that the block cache may hold.";
    CacheHits "starling_storage_cache_hits_total" "counter" "Blocks found in the cache.";
    CacheMisses "starling_storage_cache_misses_total" "counter" "Blocks read from disk.";
    ObjectCacheBytes "starling_storage_object_cache_bytes" "gauge" "Bytes of headers in the object cache, about.";
    ObjectCacheCapacity "starling_storage_object_cache_capacity_bytes" "gauge" "Bytes that the object cache may hold; 0 when it is off.";
    ObjectCacheHits "starling_storage_object_cache_hits_total" "counter" "Reads of headers that the object cache answered.";
    ObjectCacheMisses "starling_storage_object_cache_misses_total" "counter" "Reads of headers that the store was asked, absent ones included.";
    LogBytes "starling_storage_log_bytes_total" "counter" "Bytes written to the store's log.";
    Flushed "starling_storage_flushed_bytes_total" "counter" "Bytes written to tables from memory.";
    Compacted "starling_storage_compacted_bytes_total" "counter" "Bytes of tables rewritten by compaction.";
    Compactions "starling_storage_compactions_running" "gauge" "Compactions under way.";
    Stalled "starling_storage_stalled_seconds_total" "counter" "Time that writes waited because flushing or compaction lagged.";
    WriteStopped "starling_storage_write_stopped" "gauge" "1 while writes wait because flushing or compaction lags.";
    BackgroundErrors "starling_storage_background_errors" "gauge" "Background work of the store that failed since the start.";
    DiskFree "starling_storage_disk_free_bytes" "gauge" "Bytes free on the file system of the data directory.";
    DiskSize "starling_storage_disk_size_bytes" "gauge" "Size of the file system of the data directory.";
    DiskReserve "starling_storage_disk_reserve_bytes" "gauge" "Bytes kept free: writes are refused while less is free.";
    WritesRefused "starling_storage_writes_refused_total" "counter" "Batches refused because too little was free.";
    SpansSent "starling_trace_spans_sent_total" "counter" "Spans of traces that the collector took.";
    SpansLost "starling_trace_spans_lost_total" "counter" "Spans of traces that could not be delivered to the collector.";
    Ready "starling_ready" "gauge" "Whether this node serves clients, 1 or 0.";
    BuildInfo "starling_build_info" "gauge" "Always 1; the version is in the label.";
    Started "starling_process_start_time_seconds" "gauge" "When the process began to serve, as a Unix time.";
    Uptime "starling_process_uptime_seconds" "gauge" "Time since the HTTP server began.";
    CpuSeconds "starling_process_cpu_seconds_total" "counter" "Time that the process spent on processors, user and system.";
    Resident "starling_process_resident_memory_bytes" "gauge" "Memory of the process in RAM.";
    Memory "starling_machine_memory_bytes" "gauge" "Memory of the machine.";
    OpenFds "starling_process_open_fds" "gauge" "File descriptors that the process has open.";
    MaxFds "starling_process_max_fds" "gauge" "File descriptors that the process may open.";
}

impl Family {
    /// Name, kind and meaning.
    pub fn row(self) -> (&'static str, &'static str, &'static str) {
        TABLE[self as usize]
    }

    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Family> {
        ALL.iter().copied()
    }

    /// One value, without labels.
    pub fn is(self, value: f64) -> Sample {
        Sample { family: self, labels: Vec::new(), value: Value::Number(value) }
    }

    /// One value of the series with these labels.
    pub fn of(self, labels: &[(&'static str, &str)], value: f64) -> Sample {
        Sample { family: self, labels: owned(labels), value: Value::Number(value) }
    }

    /// A histogram.
    pub fn spread(self, labels: &[(&'static str, &str)], reading: Reading) -> Sample {
        Sample { family: self, labels: owned(labels), value: Value::Spread(reading) }
    }
}

fn owned(labels: &[(&'static str, &str)]) -> Vec<(&'static str, Cow<'static, str>)> {
    labels.iter().map(|(name, text)| (*name, Cow::Owned((*text).to_owned()))).collect()
}

/// One series at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// What it measures.
    pub family: Family,
    /// Label names and values; few different ones.
    pub labels: Vec<(&'static str, Cow<'static, str>)>,
    /// In base units.
    pub value: Value,
}

/// What a series holds.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Of a counter or a gauge.
    Number(f64),
    /// Of a histogram.
    Spread(Reading),
}

impl Sample {
    /// The name of its family.
    pub fn name(&self) -> &'static str {
        self.family.row().0
    }

    /// The value; of a histogram how many were counted.
    pub fn number(&self) -> f64 {
        match &self.value {
            Value::Number(value) => *value,
            Value::Spread(reading) => reading.count as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_convention_and_are_unique() {
        let mut names: Vec<_> = TABLE.iter().map(|(name, ..)| *name).collect();
        names.extend(crate::metrics::TABLE.iter().map(|(name, ..)| *name));
        for (name, kind, help) in TABLE {
            assert!(name.starts_with("starling_") && help.ends_with('.'));
            assert_eq!(name.ends_with("_total"), *kind == "counter", "{name}");
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
