//! Until when an object is there.

use std::time::Duration;

/// Until when an object is there.
///
/// ```
/// # starling_client::example(async |client| {
/// use starling_client::Ttl;
/// use std::time::Duration;
///
/// let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3_600));
/// let session = client.set("sessions", "ada").with_ttl(minute);
/// session.add(["signed in"]).await?;
/// session.set_expiry(Ttl::For(hour)).await?;
/// assert!(session.expiry().await?.and_then(|expiry| expiry.left) > Some(minute));
/// session.set_expiry(Ttl::Persist).await?;
/// # Ok(())
/// # });
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expiry {
    /// The time left, in whole seconds; `None` when it does not expire.
    pub left: Option<Duration>,
    /// The instant, RFC 3339; `None` when it does not expire.
    pub at: Option<String>,
}
