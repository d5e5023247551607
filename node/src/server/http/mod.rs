//! Clients over HTTP.

use super::handle::NodeHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Serves until `shutdown` turns true.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    node: NodeHandle,
    mut shutdown: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let _ = (listener, node);
    let _ = shutdown.wait_for(|stop| *stop).await;
    Ok(())
}
