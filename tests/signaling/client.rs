//! A peer as the service sees one: a WebSocket, a key, and the messages of core.

use std::{collections::VecDeque, net::SocketAddr};

use futures_util::{SinkExt, StreamExt};
use tabswarm_core::{
    bounded::BoundedString,
    content::SegmentKey,
    id::{PeerId, SessionId, StreamId},
    identity::{
        Candidate, Certificate, INTRODUCTION_LIFETIME, Identity, Introduction, IntroductionBody,
        SignedCertificate, SignedIntroduction, domain,
    },
    time::WallTime,
    wire::{
        AttestRequest, ClientHello, ClientMessage, FEATURE_NEAR, GoawayReason, PROTOCOL_VERSIONS,
        ServiceMessage, Welcome, frames,
    },
};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::harness::LIMIT;

/// A stream name, and its swarm in attested mode.
pub const STREAM_NAME: &str = "/show/master.m3u8";

pub fn stream() -> StreamId {
    StreamId::new(None, STREAM_NAME)
}

/// A WebSocket that has its challenge and has said nothing yet.
pub struct Stranger {
    pub socket: WebSocketStream<TcpStream>,
    pub challenge: [u8; 32],
}

/// How a stranger comes in.
#[derive(Default)]
pub struct Entry<'a> {
    /// `X-Forwarded-For` of the request.
    pub forwarded_for: Option<&'a str>,
    /// Receive buffer of the socket, so that it is soon full.
    pub receive_buffer: Option<u32>,
}

/// Opens a WebSocket; an HTTP answer instead of one is the error.
pub async fn open(
    address: SocketAddr,
    entry: &Entry<'_>,
) -> Result<WebSocketStream<TcpStream>, Box<tungstenite::Error>> {
    let tcp = TcpSocket::new_v4().expect("a socket can be made");
    if let Some(bytes) = entry.receive_buffer {
        tcp.set_recv_buffer_size(bytes).expect("the buffer can be set");
    }
    let tcp = tcp.connect(address).await.expect("the service listens");
    tcp.set_nodelay(true).expect("TCP_NODELAY can be set");
    let mut request = format!("ws://{address}/swarm").into_client_request().expect("the URL is one");
    if let Some(list) = entry.forwarded_for {
        let value = HeaderValue::from_str(list).expect("the header is one");
        request.headers_mut().insert("x-forwarded-for", value);
    }
    let (socket, _) = client_async(request, tcp).await.map_err(Box::new)?;
    Ok(socket)
}

impl Stranger {
    pub async fn open(address: SocketAddr) -> Self {
        Self::enter(address, &Entry::default()).await
    }

    pub async fn enter(address: SocketAddr, entry: &Entry<'_>) -> Self {
        let mut socket = open(address, entry).await.expect("the service takes WebSockets");
        let message = next_bytes(&mut socket).await.expect("a challenge comes");
        match decode(&message).as_slice() {
            [ServiceMessage::Challenge(challenge)] => Self { socket, challenge: *challenge },
            other => panic!("no challenge but {other:?}"),
        }
    }

    /// A right hello of a key, that wants peers of its network group.
    pub fn hello(&self, identity: &Identity) -> ClientHello {
        ClientHello {
            versions: PROTOCOL_VERSIONS,
            features: FEATURE_NEAR,
            public_key: identity.public_key(),
            proof: identity.sign(domain::SERVICE_HELLO, &self.challenge),
            previous: None,
            token: None,
        }
    }

    /// Says hello and is welcomed, or is told why not.
    pub async fn greet(mut self, identity: Identity, hello: ClientHello) -> Result<Client, GoawayReason> {
        send(&mut self.socket, &ClientMessage::Hello(Box::new(hello))).await;
        let message = next_bytes(&mut self.socket).await.expect("an answer comes");
        let mut messages = VecDeque::from(decode(&message));
        match messages.pop_front() {
            Some(ServiceMessage::Welcome(welcome)) => {
                let verified = welcome.certificate.verify(&welcome.issuers, welcome.now);
                let certificate = verified.expect("the certificate verifies");
                let me = certificate.peer_id();
                Ok(Client { socket: self.socket, messages, identity, me, certificate, welcome: *welcome })
            }
            Some(ServiceMessage::Goaway { reason, .. }) => Err(reason),
            other => panic!("no welcome but {other:?}"),
        }
    }
}

/// An admitted peer.
pub struct Client {
    socket: WebSocketStream<TcpStream>,
    messages: VecDeque<ServiceMessage>,
    pub identity: Identity,
    pub me: PeerId,
    pub certificate: Certificate,
    pub welcome: Welcome,
}

impl Client {
    /// Comes in with the key of a seed.
    pub async fn connect(address: SocketAddr, seed: u8) -> Self {
        Self::connect_with(address, seed, |_| {}).await.expect("the peer is welcome")
    }

    /// Comes in with a changed hello.
    pub async fn connect_with(
        address: SocketAddr,
        seed: u8,
        change: impl FnOnce(&mut ClientHello),
    ) -> Result<Self, GoawayReason> {
        let stranger = Stranger::open(address).await;
        let identity = Identity::from_seed([seed; 32]);
        let mut hello = stranger.hello(&identity);
        change(&mut hello);
        stranger.greet(identity, hello).await
    }

    /// Comes in from an address that the proxy names.
    pub async fn connect_from(
        address: SocketAddr,
        seed: u8,
        forwarded_for: &str,
    ) -> Result<Self, GoawayReason> {
        let entry = Entry { forwarded_for: Some(forwarded_for), ..Entry::default() };
        let stranger = Stranger::enter(address, &entry).await;
        let identity = Identity::from_seed([seed; 32]);
        let hello = stranger.hello(&identity);
        stranger.greet(identity, hello).await
    }

    pub async fn send(&mut self, message: &ClientMessage) {
        send(&mut self.socket, message).await;
    }

    /// Sends bytes as they are; `false` if the service closed meanwhile.
    pub async fn send_raw(&mut self, message: Message) -> bool {
        self.socket.send(message).await.is_ok()
    }

    /// The next message, or `None` once the service has closed.
    pub async fn next(&mut self) -> Option<ServiceMessage> {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Some(message);
            }
            let bytes = next_bytes(&mut self.socket).await?;
            self.messages.extend(decode(&bytes));
        }
    }

    /// The first message that `pick` takes; others before it are dropped.
    pub async fn until<T>(&mut self, mut pick: impl FnMut(ServiceMessage) -> Option<T>) -> T {
        loop {
            let message = self.next().await.expect("the service keeps the connection");
            if let Some(picked) = pick(message) {
                return picked;
            }
        }
    }

    /// What comes before the answer to a ping.
    pub async fn drain(&mut self) -> Vec<ServiceMessage> {
        self.send(&ClientMessage::Ping).await;
        let mut drained = Vec::new();
        loop {
            match self.next().await.expect("the service keeps the connection") {
                ServiceMessage::Pong => return drained,
                other => drained.push(other),
            }
        }
    }

    /// Why the service ends the connection; `None` if it does not say.
    pub async fn goaway(&mut self) -> Option<GoawayReason> {
        let mut reason = None;
        while let Some(message) = self.next().await {
            if let ServiceMessage::Goaway { reason: told, .. } = message {
                reason = Some(told);
            }
        }
        reason
    }

    /// Joins the test's stream.
    pub async fn join(&mut self, want: u8) -> (u32, Vec<PeerId>) {
        self.send(&ClientMessage::Join { stream: stream(), want }).await;
        self.peers().await
    }

    /// Joins another stream.
    pub async fn join_named(&mut self, name: &str) {
        self.send(&ClientMessage::Join { stream: StreamId::new(None, name), want: 0 }).await;
        self.until(|message| matches!(message, ServiceMessage::Peers { .. }).then_some(())).await;
    }

    /// Waits for introductions to the test's stream.
    pub async fn peers(&mut self) -> (u32, Vec<PeerId>) {
        self.until(|message| match message {
            ServiceMessage::Peers { stream: of, population, peers } if of == stream() => {
                Some((population, peers.into_vec()))
            }
            _ => None,
        })
        .await
    }

    pub fn now(&self) -> WallTime {
        self.welcome.now
    }

    /// A candidate for a peer, signed.
    pub fn introduction(&self, to: PeerId) -> SignedIntroduction {
        self.introduction_until(to, self.now() + INTRODUCTION_LIFETIME)
    }

    pub fn introduction_until(&self, to: PeerId, expires: WallTime) -> SignedIntroduction {
        self.unsigned(to, expires).sign(&self.welcome.certificate, &self.identity)
    }

    /// Shown with somebody else's certificate.
    pub fn introduction_as(&self, to: PeerId, certificate: &SignedCertificate) -> SignedIntroduction {
        self.unsigned(to, self.now() + INTRODUCTION_LIFETIME).sign(certificate, &self.identity)
    }

    fn unsigned(&self, to: PeerId, expires: WallTime) -> Introduction {
        let network = tabswarm_core::id::NetworkId::of_issuer(&self.welcome.issuers[0]);
        let candidate = Candidate::new("candidate:1 1 udp 1 127.0.0.1 9 typ host").expect("a candidate line");
        let session = SessionId::from_bytes([3; 16]);
        Introduction { to, network, session, expires, body: IntroductionBody::Candidate(candidate) }
    }

    pub async fn introduce(&mut self, to: PeerId, introduction: SignedIntroduction) {
        self.send(&ClientMessage::Introduce { to, introduction: Box::new(introduction) }).await;
    }

    pub async fn introduced(&mut self) -> SignedIntroduction {
        self.until(|message| match message {
            ServiceMessage::Introduced(introduction) => Some(*introduction),
            _ => None,
        })
        .await
    }

    pub async fn attest(&mut self, key: &SegmentKey) {
        self.attest_in(STREAM_NAME, key).await;
    }

    pub async fn attest_in(&mut self, stream_name: &str, key: &SegmentKey) {
        let stream_name = BoundedString::try_from(stream_name).expect("the name is short");
        self.send(&ClientMessage::Attest(AttestRequest { stream_name, key: key.clone() })).await;
    }
}

/// Frames of a transport message, all of a known type.
fn decode(message: &[u8]) -> Vec<ServiceMessage> {
    let decode =
        |frame| ServiceMessage::decode(&frame).expect("the service writes well").expect("of a known type");
    frames(message).map(|frame| decode(frame.expect("the frames are whole"))).collect()
}

async fn send(socket: &mut WebSocketStream<TcpStream>, message: &ClientMessage) {
    socket.send(Message::binary(message.to_bytes())).await.expect("the service reads");
}

/// The next binary message; `None` once the connection is over.
async fn next_bytes(socket: &mut WebSocketStream<TcpStream>) -> Option<Vec<u8>> {
    let next = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Binary(bytes))) => return Some(bytes.into()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    };
    // The service's pings come all the time and must not count.
    timeout(LIMIT, next).await.expect("something comes before the limit")
}
