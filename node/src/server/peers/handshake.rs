//! Who is on the other end: magic, protocol version, cluster and names, proven by the secret.
//!
//! The dialer sends `"STRL" | protocol version | 0 plain or 1 sealed`, which also goes into the
//! Noise prologue together with the cluster's name. With a secret both run NNpsk0; then the
//! dialer says who it is and whom it wants, and the other side agrees or says why not. Nothing
//! is believed before both ephemeral keys were mixed, so a recorded handshake is worthless.

use super::frames::{Link, LinkError, append_frame};
use crate::crdt::NodeId;
use crate::wire::codec;
use bincode::{Decode, Encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MAGIC: &[u8; 4] = b"STRL";
/// Version of the protocol between nodes; those of different versions do not talk.
pub const PROTOCOL: u8 = 4;
const NOISE: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
/// Longest frame before the other side is known.
const HELLO_MAX: usize = 1_024;
/// Longest Noise handshake message; an empty one has 48 bytes.
const HANDSHAKE_MAX: usize = 256;

/// What a node says of itself and proves.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster it belongs to.
    pub cluster: String,
    /// Its name.
    pub name: String,
    /// Derived from the cluster secret; `None` on loopback without one.
    pub key: Option<[u8; 32]>,
}

impl Identity {
    /// The id that goes with the name.
    pub fn id(&self) -> NodeId {
        NodeId::of_name(&self.name)
    }

    fn preamble(&self) -> [u8; 6] {
        let [a, b, c, d] = *MAGIC;
        [a, b, c, d, PROTOCOL, self.key.is_some().into()]
    }

    fn noise(&self, initiator: bool) -> Result<Option<snow::HandshakeState>, LinkError> {
        let Some(key) = &self.key else { return Ok(None) };
        let prologue = [&self.preamble()[..], self.cluster.as_bytes()].concat();
        let builder = snow::Builder::new(NOISE.parse()?).psk(0, key)?.prologue(&prologue)?;
        let state = if initiator { builder.build_initiator() } else { builder.build_responder() }?;
        Ok(Some(state))
    }
}

#[derive(Encode, Decode)]
struct Hello {
    cluster: String,
    from: String,
    to: String,
}

#[derive(Encode, Decode)]
enum Welcome {
    Yes,
    No(String),
}

/// Introduces this node to the node called `to` at the other end of `socket`.
pub async fn dial(mut socket: TcpStream, identity: &Identity, to: &str) -> Result<Link, LinkError> {
    socket.write_all(&identity.preamble()).await?;
    let noise = match identity.noise(true)? {
        None => None,
        Some(mut noise) => {
            write_handshake(&mut socket, &mut noise).await?;
            read_handshake(&mut socket, &mut noise).await?;
            Some(noise.into_transport_mode()?)
        }
    };
    let mut link = Link::new(socket, noise);
    let (cluster, from) = (identity.cluster.clone(), identity.name.clone());
    write_value(&mut link, &Hello { cluster, from, to: to.into() }).await?;
    match read_value(&mut link).await? {
        Welcome::Yes => Ok(link),
        Welcome::No(why) => Err(LinkError::Protocol(format!("refused: {}", printable(&why)))),
    }
}

/// Finds out who dialed; gives its name.
pub async fn answer(
    mut socket: TcpStream,
    identity: &Identity,
) -> Result<(Link, String), LinkError> {
    let mut preamble = [0; 6];
    socket.read_exact(&mut preamble).await?;
    check_preamble(preamble, identity.preamble())?;
    let noise = match identity.noise(false)? {
        None => None,
        Some(mut noise) => {
            read_handshake(&mut socket, &mut noise).await?;
            write_handshake(&mut socket, &mut noise).await?;
            Some(noise.into_transport_mode()?)
        }
    };
    let mut link = Link::new(socket, noise);
    let hello: Hello = read_value(&mut link).await?;
    let refusal = if hello.cluster != identity.cluster {
        Some(format!("this node belongs to the cluster {:?}", identity.cluster))
    } else if hello.to != identity.name {
        Some(format!("this is the node {:?}", identity.name))
    } else if hello.from == identity.name {
        Some("two nodes have one name".into())
    } else if !is_name(&hello.from) {
        Some("that is no name of a node".into())
    } else {
        None
    };
    if let Some(why) = refusal {
        write_value(&mut link, &Welcome::No(why.clone())).await?;
        return Err(LinkError::Protocol(why));
    }
    write_value(&mut link, &Welcome::Yes).await?;
    Ok((link, hello.from))
}

/// Whether `name` can be a node's: 1 to 64 of letters, digits, `.`, `_` and `-`.
pub fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=64).contains(&name.len()) && name.chars().all(fits)
}

fn check_preamble(theirs: [u8; 6], own: [u8; 6]) -> Result<(), LinkError> {
    let why = if theirs[..4] != own[..4] {
        "not a Starling node"
    } else if theirs[4] != own[4] {
        "another version of the protocol between nodes"
    } else if theirs[5] == own[5] {
        return Ok(());
    } else if own[5] == 1 {
        "a plain connection, and this node has a cluster secret: start the other with it"
    } else {
        "a sealed connection, and this node has no cluster secret: start it with --secret-file"
    };
    Err(LinkError::Protocol(why.into()))
}

async fn write_handshake(
    socket: &mut TcpStream,
    noise: &mut snow::HandshakeState,
) -> Result<(), LinkError> {
    let mut message = [0; 2 + HANDSHAKE_MAX];
    let length = noise.write_message(&[], &mut message[2..])?;
    message[..2].copy_from_slice(&(length as u16).to_be_bytes());
    Ok(socket.write_all(&message[..2 + length]).await?)
}

async fn read_handshake(
    socket: &mut TcpStream,
    noise: &mut snow::HandshakeState,
) -> Result<(), LinkError> {
    let mut length = [0; 2];
    socket.read_exact(&mut length).await?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > HANDSHAKE_MAX {
        return Err(LinkError::TooLong { length, limit: HANDSHAKE_MAX });
    }
    let mut message = [0; HANDSHAKE_MAX];
    socket.read_exact(&mut message[..length]).await?;
    noise.read_message(&message[..length], &mut [0; HANDSHAKE_MAX])?;
    Ok(())
}

async fn write_value<T: Encode>(link: &mut Link, value: &T) -> Result<(), LinkError> {
    let mut frame = Vec::new();
    append_frame(&mut frame, &codec::encode(value));
    link.write(&frame).await
}

async fn read_value<T: Decode<()>>(link: &mut Link) -> Result<T, LinkError> {
    let frame = link.read(HELLO_MAX).await?;
    let frame = frame.ok_or_else(|| LinkError::Protocol("the other side closed".into()))?;
    codec::decode(&frame).map_err(|error| LinkError::Protocol(error.to_string()))
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
