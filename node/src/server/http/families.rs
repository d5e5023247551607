//! Every metric of the HTTP layer and the process in one table: name, kind, meaning.

macro_rules! families {
    ($($family:ident $name:literal $kind:literal $help:literal;)*) => {
        /// A metric family of the shell.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Family { $(#[doc = $help] $family,)* }

        /// Name, kind and meaning of each, in the order of [`Family`].
        pub const TABLE: &[(&str, &str, &str)] = &[$(($name, $kind, $help),)*];
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
    SyncDuration "starling_sync_duration_seconds" "histogram" "Time that syncs of the store took.";
    Ready "starling_ready" "gauge" "Whether this node serves clients, 1 or 0.";
    BuildInfo "starling_build_info" "gauge" "Always 1; the version is in the label.";
    Resident "starling_process_resident_memory_bytes" "gauge" "Memory of the process in RAM.";
    OpenFds "starling_process_open_fds" "gauge" "File descriptors that the process has open.";
    CpuSeconds "starling_process_cpu_seconds_total" "counter" "Time that the process spent on processors, user and system.";
    Uptime "starling_process_uptime_seconds" "gauge" "Time since the HTTP server began.";
}

impl Family {
    /// Name, kind and meaning.
    pub fn row(self) -> (&'static str, &'static str, &'static str) {
        TABLE[self as usize]
    }
}

/// Upper bounds of the latency buckets, seconds.
pub const LATENCY_BOUNDS: [f64; 15] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0,
];

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
