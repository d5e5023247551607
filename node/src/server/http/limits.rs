//! What one client may cost the node: every bound of the HTTP interface in one struct.

use std::time::Duration;

/// Bounds of the HTTP interface; the defaults are those the interface promises.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections open at once. Above it new ones wait in the kernel's queue. Each costs about
    /// 20 KiB. 64 to 65,536.
    pub connections_max: usize,
    /// Header lines of one request.
    pub headers_max: usize,
    /// Bytes of the request line and all headers of one request, at least 8 KiB.
    pub header_bytes_max: usize,
    /// From the first byte awaited to the last header read; an idle connection is closed after
    /// the same time.
    pub header_timeout: Duration,
    /// Bytes of a `kv` value.
    pub value_bytes_max: usize,
    /// Bytes of a JSON body that names set members: 1,000 of them, with room for escapes.
    pub members_body_bytes_max: usize,
    /// Bytes of any other JSON body.
    pub json_body_bytes_max: usize,
    /// For the whole of one body to arrive.
    pub body_timeout: Duration,
    /// Bytes of all bodies held at once; a request that would exceed it is shed with `429`.
    pub bodies_bytes_max: usize,
    /// Open streams of one HTTP/2 connection.
    pub streams_max: u32,
    /// For requests under way to finish when the node stops.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_max: 4_096,
            headers_max: 100,
            header_bytes_max: 16 << 10,
            header_timeout: Duration::from_secs(10),
            value_bytes_max: 1 << 20,
            members_body_bytes_max: 2 << 20,
            json_body_bytes_max: 64 << 10,
            body_timeout: Duration::from_secs(30),
            bodies_bytes_max: 256 << 20,
            streams_max: 256,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Bytes of a bucket's name.
pub const BUCKET_BYTES_MAX: usize = 64;
/// Bytes of a key.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Bytes of a set member.
pub const MEMBER_BYTES_MAX: usize = 1_024;
/// Members named in one call, and on one page.
pub const MEMBERS_MAX: usize = 1_000;
/// Members on a page unless asked otherwise.
pub const PAGE_DEFAULT: u32 = 100;
/// Characters of a context that is sent or taken as a header.
pub const CONTEXT_CHARS_MAX: usize = 12 << 10;
/// Bytes of a content type.
pub const CONTENT_TYPE_BYTES_MAX: usize = 256;
