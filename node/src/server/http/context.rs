//! `Starling-Context`: what a client has seen of one object, opaque and sealed.
//!
//! The text is `base64url(nonce | XChaCha20-Poly1305(encoded context))` with the object's
//! identity as associated data, under a key that all nodes of a cluster share. So any node takes
//! a context from any other, and a context of another object, of another cluster or one that was
//! changed is refused before anything is decoded.

use super::limits::CONTEXT_CHARS_MAX;
use super::problem::{Code, Problem};
use crate::crdt::{ObjectId, Observed, SeenContext};
use crate::wire::codec;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

const NONCE_BYTES: usize = 24;

/// Seals and opens contexts.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
}

impl Sealer {
    /// With the cluster's key.
    pub fn new(key: [u8; 32]) -> Sealer {
        Sealer { cipher: XChaCha20Poly1305::new(&key.into()) }
    }

    /// The text for `seen`, good for `object` only.
    pub fn seal(&self, object: &ObjectId, seen: &SeenContext) -> String {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let (msg, aad) = (codec::encode(seen), codec::encode(object));
        let payload = Payload { msg: &msg, aad: &aad };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let mut bytes = nonce.to_vec();
        bytes.extend(sealed.expect("a context is far below the cipher's limit"));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a client says it has seen of `object`: nothing said, `none`, or a sealed text.
    ///
    /// # Errors
    /// `malformed_context`.
    pub fn observed(&self, object: &ObjectId, text: Option<&str>) -> Result<Observed, Problem> {
        match text {
            None => Ok(Observed::Here),
            Some("none") => Ok(Observed::Nothing),
            Some(text) => self.open(object, text).map(Observed::Context),
        }
    }

    fn open(&self, object: &ObjectId, text: &str) -> Result<SeenContext, Problem> {
        let refuse = |why: &str| Problem::new(Code::MalformedContext, why);
        if text.len() > CONTEXT_CHARS_MAX {
            return Err(refuse("the context is longer than any that was handed out"));
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refuse("it is not base64url"))?;
        let Some((nonce, sealed)) = bytes.split_first_chunk::<NONCE_BYTES>() else {
            return Err(refuse("it is truncated"));
        };
        let aad = codec::encode(object);
        let payload = Payload { msg: sealed, aad: &aad };
        let opened = self.cipher.decrypt(&XNonce::from(*nonce), payload);
        let opened = opened.map_err(|_| {
            refuse("it was handed out for another object or by another cluster, or was changed")
        })?;
        let seen: SeenContext =
            codec::decode(&opened).map_err(|error| refuse(&error.to_string()))?;
        if !seen.dots.is_canonical() {
            return Err(refuse("it holds no valid context"));
        }
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crdt::{Actor, CausalContext, Dot, NodeId, TypeTag};

    fn object(key: &str) -> ObjectId {
        ObjectId { bucket: "b".into(), tag: TypeTag::Kv, key: key.into() }
    }

    fn seen() -> SeenContext {
        let actor = Actor { node: NodeId::of_name("n1"), epoch: u64::MAX };
        let dots = CausalContext::from_iter([Dot { actor, counter: 7 }]);
        SeenContext { dots, ..SeenContext::default() }
    }

    #[test]
    fn a_context_opens_for_its_object_alone() {
        let sealer = Sealer::new([7; 32]);
        let text = sealer.seal(&object("a"), &seen());
        assert_eq!(sealer.open(&object("a"), &text), Ok(seen()));
        let elsewhere = [
            sealer.open(&object("b"), &text),
            sealer.open(&ObjectId { tag: TypeTag::Flag, ..object("a") }, &text),
            sealer.open(&ObjectId { bucket: "c".into(), ..object("a") }, &text),
            Sealer::new([8; 32]).open(&object("a"), &text),
        ];
        for opened in elsewhere {
            assert_eq!(opened.unwrap_err().code, Code::MalformedContext);
        }
    }

    #[test]
    fn a_context_with_any_character_changed_or_cut_is_refused() {
        let sealer = Sealer::new([7; 32]);
        let text = sealer.seal(&object("a"), &seen());
        for at in 0..text.len() {
            assert!(sealer.open(&object("a"), &text[..at]).is_err());
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(sealer.open(&object("a"), &changed).is_err(), "{at}");
        }
    }

    #[test]
    fn a_context_of_three_replicas_stays_under_a_kibibyte() {
        let actor = |name| Actor { node: NodeId::of_name(name), epoch: u64::MAX };
        let mut seen = SeenContext::default();
        for name in ["n1", "n2", "n3"] {
            seen.dots.insert_range(actor(name), 1, u64::MAX);
        }
        assert!(Sealer::new([7; 32]).seal(&object("a"), &seen).len() <= 1_024);
    }
}
