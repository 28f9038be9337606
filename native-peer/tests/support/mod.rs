//! What the tests of the command share: a stream on disk, the command itself, and a web server for a directory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod live;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
};

use tabswarm_core::content::{GROUP_LEN, GroupList, Manifest, SegmentKey, Trust};
use tempfile::TempDir;

/// Bytes that differ by seed and by place.
pub fn sample(seed: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|index| ((index ^ seed << 20).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

pub fn write(root: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

pub const MASTER: &str = "#EXTM3U\n#EXT-X-VERSION:7\n\
    #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"English\",URI=\"audio/index.m3u8\"\n\
    #EXT-X-STREAM-INF:BANDWIDTH=800000,AUDIO=\"a\"\nlow/index.m3u8\n\
    #EXT-X-STREAM-INF:BANDWIDTH=2000000,AUDIO=\"a\"\nhigh/index.m3u8\n";

pub const LOW: &str =
    "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4.0,\n0.ts\n#EXTINF:4.0,\n1.ts\n#EXT-X-ENDLIST\n";

pub const HIGH: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n\
    #EXT-X-MAP:URI=\"all.mp4\",BYTERANGE=\"1000@0\"\n\
    #EXTINF:4.0,\n#EXT-X-BYTERANGE:20000@1000\nall.mp4\n\
    #EXTINF:4.0,\n#EXT-X-BYTERANGE:50000\nall.mp4\n#EXT-X-ENDLIST\n";

pub const AUDIO: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI=\"init.mp4\"\n\
    #EXTINF:4.0,\n0.m4s\n#EXTINF:4.0,\n../audio/0.m4s\n#EXT-X-ENDLIST\n";

/// A stream of two levels, one of them byte ranges, and an audio rendition with an init segment.
pub fn stream() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let show = directory.path().join("show");
    write(&show, "master.m3u8", MASTER);
    write(&show, "low/index.m3u8", LOW);
    write(&show, "low/0.ts", sample(1, 70_000));
    write(&show, "low/1.ts", sample(2, 16_384));
    write(&show, "high/index.m3u8", HIGH);
    write(&show, "high/all.mp4", sample(3, 71_000));
    write(&show, "audio/index.m3u8", AUDIO);
    write(&show, "audio/init.mp4", sample(4, 800));
    write(&show, "audio/0.m4s", sample(5, 30_000));
    directory
}

/// Every file below a directory with its bytes, and every directory with none.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_owned();
            if path.is_dir() {
                files.insert(name, Vec::new());
                directories.push(path);
            } else {
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// The names of group lists below a directory that belong to a playlist, from its path.
pub fn sidecars(root: &Path, playlist: &str) -> Vec<String> {
    let names = tree(root).into_keys().map(|path| path.display().to_string());
    names.filter(|name| name.starts_with(playlist) && name.ends_with(".groups")).collect()
}

/// A manifest that anybody may have signed.
pub fn manifest(file: &Path) -> Manifest {
    Manifest::decode(&fs::read(file).unwrap(), &Trust::Origin).unwrap()
}

/// Checks an entry against the bytes a viewer would get: length, root, and every group by the sidecar.
#[track_caller]
pub fn assert_verifies(root: &Path, manifest: &Manifest, key: &SegmentKey, bytes: &[u8]) {
    let entry = manifest.lookup(key).unwrap_or_else(|| panic!("{key:?} is not in the manifest"));
    assert_eq!(entry.len().bytes(), bytes.len() as u64);
    assert_eq!(entry.root().as_bytes(), blake3::hash(bytes).as_bytes());
    let sidecar = fs::read(root.join(manifest.track_of(entry).unwrap().sidecar())).unwrap();
    let list =
        entry.list_range().map_or(&[][..], |range| &sidecar[range.start() as usize..range.end() as usize]);
    let list = GroupList::from_sidecar(entry, list).unwrap();
    for (index, group) in entry.len().all_groups().iter().zip(bytes.chunks(GROUP_LEN as usize)) {
        assert!(list.check(index, group), "{key:?} {index:?}");
    }
}

/// Runs the command in a directory.
pub fn tabswarm(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tabswarm"));
    for variable in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy"] {
        command.env_remove(variable);
    }
    command.args(arguments).current_dir(directory).output().unwrap()
}

#[track_caller]
pub fn succeed(directory: &Path, arguments: &[&str]) -> String {
    let output = tabswarm(directory, arguments);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}{err}");
    out + &err
}

/// What the command says when it fails, which it must.
#[track_caller]
pub fn fail(directory: &Path, arguments: &[&str]) -> String {
    let output = tabswarm(directory, arguments);
    assert!(!output.status.success(), "succeeded: {}", String::from_utf8_lossy(&output.stdout));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

/// How the server treats requests.
#[derive(Clone, Copy, Default)]
pub struct Behaviour {
    /// Answers Range requests with the whole file.
    pub ignores_ranges: bool,
    /// Declares one byte more than it sends, and closes.
    pub cuts_bodies: bool,
    /// Content-Encoding of what is no playlist.
    pub encoding: Option<&'static str>,
    /// Says no length of what is no playlist: the connection's end is the body's.
    pub unframed: bool,
    /// Refuses requests without this query.
    pub token: Option<&'static str>,
}

/// A web server for a directory, on a port of its own, for as long as the test runs.
pub struct Server {
    pub address: String,
    /// Request targets with the Range header, if any.
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start(root: &Path, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (root, log) = (root.to_owned(), requests.clone());
        thread::spawn(move || {
            for connection in listener.incoming() {
                // A client that went away is none of the server's business.
                let _ = answer(connection.unwrap(), &root, behaviour, &log);
            }
        });
        Self { address, requests }
    }
}

fn answer(
    connection: TcpStream,
    root: &Path,
    behaviour: Behaviour,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    let mut head = String::new();
    while reader.read_line(&mut head)? > 2 {}
    let target = head.split(' ').nth(1).unwrap_or("/").to_owned();
    let range = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("range").then(|| value.strip_prefix("bytes=").unwrap().to_owned())
    });
    log.lock().unwrap().push(format!("{target} {}", range.as_deref().unwrap_or("-")));
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut connection = reader.into_inner();
    if let Some(moved) = path.strip_prefix("/moved/") {
        let head = format!(
            "HTTP/1.1 302 Found\r\nLocation: /{moved}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        return connection.write_all(head.as_bytes());
    }
    let file = fs::read(root.join(&path[1..]));
    let file = file.ok().filter(|_| behaviour.token.is_none_or(|token| token == query));
    let Some(file) = file else {
        return connection
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let whole = (String::from("HTTP/1.1 200 OK\r\n"), &file[..]);
    let (head, body) = match range.filter(|_| !behaviour.ignores_ranges) {
        None => whole,
        Some(range) => {
            let (start, last) = range.split_once('-').unwrap();
            let (start, last): (usize, usize) = (start.parse().unwrap(), last.parse().unwrap());
            let body = &file[start.min(file.len())..(last + 1).min(file.len())];
            let content_range = format!("bytes {start}-{last}/{}", file.len());
            (format!("HTTP/1.1 206 Partial Content\r\nContent-Range: {content_range}\r\n"), body)
        }
    };
    let well = Behaviour::default();
    let behaviour = if path.ends_with(".m3u8") { well } else { behaviour };
    let declared = body.len() + usize::from(behaviour.cuts_bodies);
    let length = if behaviour.unframed { String::new() } else { format!("Content-Length: {declared}\r\n") };
    let encoding = behaviour.encoding.map(|encoding| format!("Content-Encoding: {encoding}\r\n"));
    let head = format!("{head}{length}{}Connection: close\r\n\r\n", encoding.unwrap_or_default());
    connection.write_all(head.as_bytes())?;
    connection.write_all(body)
}
