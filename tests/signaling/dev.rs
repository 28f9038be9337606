//! The development service: files, ranges, CORS, traffic, configuration, STUN and its own attestor on one port.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use reqwest::{Method, StatusCode, header};
use stun_types::{
    attribute::XorMappedAddress,
    message::{BINDING, Message, MessageWriteVec},
    prelude::{MessageWrite, MessageWriteExt},
};
use tabswarm_core::{content::SegmentKey, identity::Identity, wire::ServiceMessage};
use tabswarm_signaling::{
    Config,
    dev::{Dev, DevError, DevOptions, RootsMode},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    client::Client,
    harness::{LIMIT, reqwest_client},
    origin::content,
};

struct Running {
    dir: TempDir,
    address: SocketAddr,
    client: reqwest::Client,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

fn write(dir: &Path, path: &str, bytes: &[u8]) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().expect("it is in a directory")).expect("directories can be made");
    fs::write(path, bytes).expect("files can be written");
}

fn options(dir: &Path) -> DevOptions {
    write(dir, "demo/index.html", b"<title>demo</title>");
    write(dir, "demo/app.js", b"export {}");
    write(dir, "npm/index.js", b"export {}");
    write(dir, "npm/tabswarm_bg.wasm", b"\0asm");
    write(dir, "sample/master.m3u8", b"#EXTM3U\n");
    write(dir, "sample/master.m3u8.tabswarm", &[1; 40]);
    write(dir, "sample/v0/1.m4s", &content("1", 50_000));
    write(dir, "secret.txt", b"secret");
    DevOptions {
        listen: "127.0.0.1:0".parse().expect("an address"),
        demo_dir: dir.join("demo"),
        npm_dir: dir.join("npm"),
        sample_dir: dir.join("sample"),
        mode: RootsMode::Attested,
        publisher_key: None,
        service: Config { state_dir: dir.join("state"), ..Config::default() },
    }
}

impl Running {
    async fn start(change: impl FnOnce(&mut DevOptions)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let mut options = options(dir.path());
        change(&mut options);
        let dev = Dev::bind(options).await.expect("the service starts");
        let address = dev.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(dev.run(async {
            let _ = stopped.await;
        }));
        Self { dir, address, client: reqwest_client(), stop, served }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.request(Method::GET, path).send().await.expect("the service answers")
    }

    async fn json(&self, path: &str) -> serde_json::Value {
        self.get(path).await.json().await.expect("the answer is JSON")
    }
}

#[tokio::test]
async fn files_have_the_types_of_streaming_and_are_never_cached() {
    let running = Running::start(|_| {}).await;
    for (path, content_type) in [
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/npm/index.js", "text/javascript"),
        ("/npm/tabswarm_bg.wasm", "application/wasm"),
        ("/sample/master.m3u8", "application/vnd.apple.mpegurl"),
        ("/sample/master.m3u8.tabswarm", "application/octet-stream"),
        ("/sample/v0/1.m4s?viewer=1&token=x", "video/iso.segment"),
    ] {
        let response = running.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], content_type, "{path}");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store", "{path}");
    }
    assert_eq!(running.get("/sample/none.m4s").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(running.get("/healthz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn pages_of_other_origins_read_ranges_of_the_sample() {
    let running = Running::start(|_| {}).await;
    let ranged = running
        .request(Method::GET, "/sample/v0/1.m4s")
        .header(header::RANGE, "bytes=100-299")
        .header(header::ORIGIN, "http://page.example")
        .send()
        .await
        .unwrap();
    assert_eq!(ranged.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(ranged.headers()[header::CONTENT_RANGE], "bytes 100-299/50000");
    assert_eq!(ranged.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    let exposed = ranged.headers()[header::ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap().to_owned();
    assert!(exposed.contains("content-range") && exposed.contains("content-length"), "{exposed}");
    assert_eq!(ranged.bytes().await.unwrap(), content("1", 50_000)[100..300]);

    let preflight = running
        .request(Method::OPTIONS, "/sample/v0/1.m4s")
        .header(header::ORIGIN, "http://page.example")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "range")
        .send()
        .await
        .unwrap();
    assert!(preflight.status().is_success());
    let allowed = preflight.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap();
    assert!(allowed == "*" || allowed.contains("range"), "{allowed}");
}

#[tokio::test]
async fn nothing_outside_the_directories_is_served() {
    let running = Running::start(|_| {}).await;
    assert!(running.dir.path().join("secret.txt").is_file());
    let paths = [
        "/sample/../secret.txt",
        "/sample/%2e%2e/secret.txt",
        "/sample/..%2fsecret.txt",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/npm//../../secret.txt",
        "/sample/..\\secret.txt",
        "//etc/passwd",
    ];
    for path in paths {
        let answer = raw_get(running.address, path).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
        assert!(!answer.contains("\r\n\r\nsecret") && !answer.contains("root:"), "{path}: {answer}");
    }
}

/// A request whose path no client has tidied up.
async fn raw_get(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).await.expect("the service listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("the service reads");
    let mut answer = Vec::new();
    timeout(LIMIT, socket.read_to_end(&mut answer)).await.expect("it ends").expect("the service answers");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn traffic_is_counted_by_path_and_viewer_with_the_attestor_apart() {
    let running = Running::start(|_| {}).await;
    running.get("/sample/master.m3u8?viewer=a").await.bytes().await.unwrap();
    running.get("/sample/v0/1.m4s?viewer=a").await.bytes().await.unwrap();
    running.get("/sample/none.m4s?viewer=a").await.bytes().await.unwrap();
    let part = running.request(Method::GET, "/sample/v0/1.m4s?viewer=b").header(header::RANGE, "bytes=0-999");
    part.send().await.unwrap().bytes().await.unwrap();
    let mut peer = Client::connect(running.address, 1).await;
    assert!(peer.welcome.attests);
    peer.join_named("/sample/master.m3u8").await;
    peer.attest_in("/sample/master.m3u8", &SegmentKey::new("v0/1.m4s", None).unwrap()).await;
    peer.until(|message| matches!(message, ServiceMessage::Attested(_)).then_some(())).await;

    let traffic = running.json("/dev/traffic.json").await;
    let number = |pointer: &str| traffic.pointer(pointer).and_then(serde_json::Value::as_u64);
    assert_eq!(number("/total/requests"), Some(3));
    assert_eq!((number("/total/bytes"), number("/total/segmentBytes")), (Some(51_008), Some(51_000)));
    assert_eq!((number("/viewers/a/segmentRequests"), number("/viewers/a/bytes")), (Some(1), Some(50_008)));
    assert_eq!(number("/viewers/b/paths/~1sample~1v0~11.m4s/bytes"), Some(1_000));
    assert_eq!((number("/attestor/requests"), number("/attestor/segmentBytes")), (Some(1), Some(50_000)));

    let reset = running.request(Method::POST, "/dev/traffic/reset").send().await.unwrap();
    assert!(reset.status().is_success());
    let traffic = running.json("/dev/traffic.json").await;
    assert_eq!(traffic.pointer("/total/bytes").and_then(serde_json::Value::as_u64), Some(0));
}

#[tokio::test]
async fn bytes_count_as_they_leave_not_as_they_are_asked_for() {
    let len = 64 * 1024 * 1024;
    let running = Running::start(|options| write(&options.sample_dir, "v0/long.m4s", &vec![7; len])).await;
    let mut response = running.get("/sample/v0/long.m4s?viewer=a").await;
    response.chunk().await.unwrap().unwrap();
    drop(response);
    let traffic = running.json("/dev/traffic.json").await;
    let left = traffic.pointer("/viewers/a/bytes").and_then(serde_json::Value::as_u64).unwrap();
    assert!(left > 0 && left < len as u64 / 2, "{left}");
}

#[tokio::test]
async fn the_page_is_told_mode_and_key() {
    let attested = Running::start(|_| {}).await;
    let expected = serde_json::json!({
        "mode": "attested", "publisherKey": null, "stream": "/sample/master.m3u8", "signaling": "/swarm"
    });
    assert_eq!(attested.json("/dev/config.json").await, expected);
    let key = Identity::from_seed([5; 32]).public_key();
    let signed = Running::start(|options| {
        options.mode = RootsMode::Signed;
        options.publisher_key = Some(key);
    });
    let config = signed.await.json("/dev/config.json").await;
    assert_eq!(
        (config["mode"].as_str(), config["publisherKey"].as_str()),
        (Some("signed"), Some(&*key.to_string()))
    );
}

#[tokio::test]
async fn stun_answers_on_the_port_that_peers_are_told() {
    let running = Running::start(|_| {}).await;
    let peer = Client::connect(running.address, 1).await;
    let url = peer.welcome.ice_servers[0].urls[0].as_str().to_owned();
    assert_eq!(url, format!("stun:{}", running.address));

    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut request = Message::builder_request(BINDING, MessageWriteVec::new());
    request.add_fingerprint().unwrap();
    let request = request.finish();
    let mut buffer = [0; 1500];
    let asked = async {
        loop {
            socket.send_to(b"not STUN at all", running.address).await.unwrap();
            socket.send_to(&request, running.address).await.unwrap();
            let answer = timeout(Duration::from_secs(1), socket.recv_from(&mut buffer)).await;
            if let Ok(Ok((len, from))) = answer {
                return (len, from);
            }
        }
    };
    let (len, from) = timeout(LIMIT, asked).await.expect("STUN answers");
    assert_eq!(from, running.address);
    let answer = Message::from_bytes(&buffer[..len]).unwrap();
    let mapped = answer.attribute::<XorMappedAddress>().unwrap().addr(answer.transaction_id());
    assert_eq!(mapped, socket.local_addr().unwrap());
}

#[tokio::test]
async fn it_stops_when_it_is_told_to() {
    let running = Running::start(|_| {}).await;
    // An idle connection that stays open must not hold it up.
    running.get("/").await.bytes().await.unwrap();
    running.stop.send(()).unwrap();
    timeout(LIMIT, running.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut without_demo = options(dir.path());
    without_demo.demo_dir = dir.path().join("nowhere");
    let error = Dev::bind(without_demo).await.err().unwrap().to_string();
    assert!(error.contains("nowhere has no index.html") && error.contains("cargo xtask demo"), "{error}");
    let mut without_key = options(dir.path());
    without_key.mode = RootsMode::Signed;
    let error = Dev::bind(without_key).await.err().unwrap();
    assert!(matches!(error, DevError::NoPublisherKey), "{error}");

    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut taken_port = options(dir.path());
    taken_port.listen = taken.local_addr().unwrap();
    let error = Dev::bind(taken_port).await.err().unwrap().to_string();
    assert!(error.contains("--listen"), "{error}");
}
