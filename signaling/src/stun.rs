//! A STUN Binding responder (RFC 8489 §14.2): tells a peer its public address. For development and small installations;
//! it authenticates nobody and relays nothing.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use stun_types::{
    attribute::{Fingerprint, XorMappedAddress},
    message::{BINDING, Message, MessageClass, MessageType, MessageWriteVec},
    prelude::{AttributeStaticType, MessageWrite, MessageWriteExt},
};
use tabswarm_core::time::Timestamp;
use tokio::net::UdpSocket;
use tracing::{debug, warn};

use crate::rate::{Bucket, Rate};

/// Longest datagram that is read; a Binding request of a browser has 20 to 100 bytes.
const MAX_REQUEST_LEN: usize = 1_280;

/// Answers to one address: a browser gathers with a few sockets at a time.
const RATE_PER_ADDRESS: Rate = Rate::per_second(50, 20);

/// Answers to everybody together.
const RATE_OVERALL: Rate = Rate::per_second(5_000, 5_000);

/// Addresses with a bucket of their own.
const MAX_ADDRESSES: usize = 10_000;

/// Pause after a failed read, so that a broken socket does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Answers Binding requests on a socket, for ever.
pub async fn respond(socket: UdpSocket) {
    let started = Instant::now();
    let mut limiter = Limiter::default();
    let mut buffer = [0; MAX_REQUEST_LEN];
    loop {
        let (len, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // An unreachable client of an earlier answer is reported here on some systems.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => continue,
            Err(error) => {
                warn!(%error, "cannot read the STUN socket");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let now = Timestamp::default() + started.elapsed();
        if !limiter.allows(from.ip().to_canonical(), now) {
            continue;
        }
        let Some(answer) = answer(&buffer[..len], from) else { continue };
        if let Err(error) = socket.send_to(&answer, from).await {
            debug!(%from, %error, "cannot send a STUN answer");
        }
    }
}

/// The answer to one datagram; `None` for anything but a Binding request.
fn answer(request: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let request = Message::from_bytes(request).ok()?;
    if request.get_type() != MessageType::from_class_method(MessageClass::Request, BINDING) {
        return None;
    }
    // §6.3.1: unknown attributes that must be understood are answered with an error.
    let unknown = Message::check_attribute_types(&request, &[], &[], MessageWriteVec::new());
    let mut response = match unknown {
        Some(error) => error,
        None => {
            let address = SocketAddr::new(from.ip().to_canonical(), from.port());
            let mut success = Message::builder_success(&request, MessageWriteVec::new());
            success.add_attribute(&XorMappedAddress::new(address, request.transaction_id())).ok()?;
            success
        }
    };
    if request.has_attribute(Fingerprint::TYPE) {
        response.add_fingerprint().ok()?;
    }
    Some(response.finish())
}

/// Source addresses of UDP can be forged: the limits keep the answers a poor weapon.
#[derive(Default)]
struct Limiter {
    overall: Bucket,
    addresses: HashMap<IpAddr, Bucket>,
}

impl Limiter {
    fn allows(&mut self, address: IpAddr, now: Timestamp) -> bool {
        if address.is_loopback() {
            return true;
        }
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&address) {
            self.addresses.retain(|_, bucket| !bucket.is_full(now));
            if self.addresses.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        let bucket = self.addresses.entry(address).or_default();
        bucket.take(&RATE_PER_ADDRESS, 1, now).is_ok() && self.overall.take(&RATE_OVERALL, 1, now).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stun_types::attribute::{ErrorCode, UnknownAttributes, Username};

    // RFC 5769 §2.1 is a request with attributes of ICE; this is the plain one every browser sends.
    fn request(fingerprint: bool) -> Vec<u8> {
        let mut request = Message::builder_request(BINDING, MessageWriteVec::new());
        if fingerprint {
            request.add_fingerprint().unwrap();
        }
        request.finish()
    }

    fn mapped(answer: &[u8]) -> SocketAddr {
        let message = Message::from_bytes(answer).unwrap();
        let address = message.attribute::<XorMappedAddress>().unwrap();
        address.addr(message.transaction_id())
    }

    #[test]
    fn the_answer_names_the_senders_address() {
        for (from, named) in [
            ("192.0.2.1:32853", "192.0.2.1:32853"),
            ("[2001:db8::1]:7", "[2001:db8::1]:7"),
            ("[::ffff:192.0.2.1]:9", "192.0.2.1:9"),
        ] {
            let request = request(false);
            let answer = answer(&request, from.parse().unwrap()).unwrap();
            assert_eq!(mapped(&answer), named.parse().unwrap());
            assert_eq!(answer[4..20], request[4..20], "cookie and transaction id");
            assert!(answer.len() <= 44, "{}", answer.len());
        }
    }

    // RFC 5769 §2.2: mapped address 192.0.2.1 port 32853 is a1 47 e1 12 a6 43 behind the family.
    #[test]
    fn the_address_is_masked_as_in_the_test_vectors() {
        let answer = answer(&request(false), "192.0.2.1:32853".parse().unwrap()).unwrap();
        assert_eq!(answer[20..], [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
    }

    #[test]
    fn a_fingerprint_is_answered_with_one() {
        let from = "192.0.2.1:1".parse().unwrap();
        let has_fingerprint =
            |answer: &[u8]| Message::from_bytes(answer).unwrap().has_attribute(Fingerprint::TYPE);
        assert!(has_fingerprint(&answer(&request(true), from).unwrap()));
        assert!(!has_fingerprint(&answer(&request(false), from).unwrap()));
    }

    #[test]
    fn attributes_that_are_not_understood_are_named() {
        let mut request = Message::builder_request(BINDING, MessageWriteVec::new());
        request.add_attribute(&Username::new("user").unwrap()).unwrap();
        let answer = answer(&request.finish(), "192.0.2.1:1".parse().unwrap()).unwrap();
        let message = Message::from_bytes(&answer).unwrap();
        assert_eq!(message.attribute::<ErrorCode>().unwrap().code(), 420);
        assert!(message.attribute::<UnknownAttributes>().unwrap().has_attribute(Username::TYPE));
    }

    #[test]
    fn anything_else_is_not_answered() {
        let from = "192.0.2.1:1".parse().unwrap();
        let indication = Message::builder_indication(BINDING, MessageWriteVec::new()).finish();
        let response = answer(&request(false), from).unwrap();
        let mut forged = request(true);
        *forged.last_mut().unwrap() ^= 1;
        for datagram in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 20], &indication, &response, &forged] {
            assert_eq!(answer(datagram, from), None);
        }
    }

    #[test]
    fn one_address_gets_so_many_answers_and_others_still_get_theirs() {
        let mut limiter = Limiter::default();
        let now = Timestamp::from_millis(1_000);
        let flooder = IpAddr::from([203, 0, 113, 1]);
        let allowed = (0..1_000).filter(|_| limiter.allows(flooder, now)).count();
        assert_eq!(allowed, 50);
        assert!(limiter.allows(IpAddr::from([203, 0, 113, 2]), now));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = answer(&bytes, "192.0.2.1:1".parse().unwrap());
            let mut shaped = request(false);
            shaped.extend_from_slice(&bytes[..bytes.len() / 4 * 4]);
            shaped[3] = (shaped.len() - 20) as u8;
            let _ = answer(&shaped, "192.0.2.1:1".parse().unwrap());
        }
    }
}
