//! Where a stream is read from: a directory, or a web server.
//!
//! Both look like URLs, so that a segment gets the same key as in a viewer's browser. A directory stands under a host of its own that
//! no URL outside can name.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use percent_encoding::percent_decode_str;
use tabswarm_core::units::ByteRange;
use ureq::{Agent, ResponseExt, http::StatusCode};
use url::Url;

/// The host a local directory stands under (RFC 2606 keeps it from being anybody's).
const LOCAL_HOST: &str = "tabswarm.invalid";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a file of a stream can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The server's answer is not the file.
    #[error("{url}: HTTP status {status}")]
    BadStatus {
        /// The address.
        url: Url,
        /// The status.
        status: StatusCode,
    },
    /// Not a URL, or one of another scheme than http and https.
    #[error("{uri}: not an address that can be read")]
    BadUri {
        /// As it stands in the playlist or on the command line.
        uri: String,
    },
    /// The server compressed what was asked for as it is.
    #[error("{url}: answered with content encoding {encoding}, which was not asked for")]
    Encoded {
        /// The address.
        url: Url,
        /// The encoding.
        encoding: String,
    },
    /// The server can't be reached, or its answer is not HTTP.
    #[error("{url}: {cause}")]
    Http {
        /// The address.
        url: Url,
        /// What went wrong.
        cause: Box<ureq::Error>,
    },
    /// The playlist's address has no file name.
    #[error("{uri}: names no file")]
    NoFileName {
        /// As it stands on the command line.
        uri: String,
    },
    /// A path that leaves the directory of the playlist that was given.
    #[error("{path} is outside of the playlist's directory")]
    Outside {
        /// The path, as in a URL.
        path: String,
    },
    /// A file of the directory can't be read.
    #[error("{}: {cause}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        cause: io::Error,
    },
    /// The answer's end can't be told from a connection that broke.
    #[error("{url}: the answer has no length")]
    Unframed {
        /// The address.
        url: Url,
    },
    /// The server sent another part of the file than was asked for.
    #[error("{url}: answered with another byte range")]
    WrongRange {
        /// The address.
        url: Url,
    },
}

/// A file opened for reading.
pub struct Opened {
    /// Where it was in the end, after redirects: what its relative URIs refer to.
    pub url: Url,
    /// Its bytes, or those of the range.
    pub reader: Box<dyn Read>,
}

/// Where a stream is read from.
pub struct Source {
    playlist: Url,
    /// The directory of the playlist, for a local one.
    directory: Option<PathBuf>,
    file_name: String,
    agent: Agent,
}

impl Source {
    /// A playlist's file or URL. `stream` is the URL path that a local playlist is served under, if it looks like one.
    pub fn new(playlist: &str, stream: Option<&str>) -> Result<Self, SourceError> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT));
        let agent = config.build().new_agent();
        if playlist.starts_with("http://") || playlist.starts_with("https://") {
            let bad_uri = |_| SourceError::BadUri { uri: playlist.to_owned() };
            let url = Url::parse(playlist).map_err(bad_uri)?;
            let last = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
            let file_name = decoded_path(last)
                .and_then(|path| path.into_os_string().into_string().ok())
                .filter(|name| !name.is_empty());
            let file_name = file_name.ok_or_else(|| SourceError::NoFileName { uri: playlist.to_owned() })?;
            return Ok(Self { playlist: url, directory: None, file_name, agent });
        }
        let (directory, url, file_name) = local_playlist(Path::new(playlist), stream)?;
        Ok(Self { playlist: url, directory: Some(directory), file_name, agent })
    }

    /// The URL of the playlist that was given; for a local one, as it would be served.
    pub fn playlist(&self) -> &Url {
        &self.playlist
    }

    /// File name of the playlist that was given.
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// Directory of a local playlist.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// A file as people know it: by its path on disk, or its URL.
    pub fn name(&self, url: &Url) -> String {
        let local = self.directory.as_ref().filter(|_| url.host_str() == Some(LOCAL_HOST));
        match local.map(|directory| self.relative(url).map(|path| directory.join(path))) {
            None => url.to_string(),
            Some(Ok(path)) => path.display().to_string(),
            Some(Err(_)) => url.path().to_owned(),
        }
    }

    /// What a URI in a playlist refers to.
    pub fn resolve(base: &Url, uri: &str) -> Result<Url, SourceError> {
        let url = base.join(uri).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let mut url = url.ok_or_else(|| SourceError::BadUri { uri: uri.to_owned() })?;
        url.set_fragment(None);
        Ok(url)
    }

    /// Opens a file, or a range of it. The reader may end early: the caller counts.
    pub fn open(&self, url: &Url, range: Option<ByteRange>) -> Result<Opened, SourceError> {
        match &self.directory {
            Some(directory) if url.host_str() == Some(LOCAL_HOST) => {
                let path = directory.join(self.relative(url)?);
                let storage = |cause| SourceError::Storage { path: path.clone(), cause };
                let reader = open_file(&path, range).map_err(storage)?;
                Ok(Opened { url: url.clone(), reader })
            }
            _ => self.open_http(url, range),
        }
    }

    /// Path of a local file from the playlist's directory.
    pub fn local(&self, url: &Url) -> Result<PathBuf, SourceError> {
        if self.directory.is_none() || url.host_str() != Some(LOCAL_HOST) {
            return Err(SourceError::Outside { path: url.to_string() });
        }
        self.relative(url)
    }

    fn relative(&self, url: &Url) -> Result<PathBuf, SourceError> {
        // The path of the playlist that was given on the command line may have any file name as a URL.
        let playlist = self.playlist.path();
        if url.path() == playlist {
            return Ok(PathBuf::from(&self.file_name));
        }
        let directory = &playlist[..=playlist.rfind('/').unwrap_or(0)];
        let relative = url.path().strip_prefix(directory).and_then(decoded_path);
        relative.ok_or_else(|| SourceError::Outside { path: url.path().to_owned() })
    }

    fn open_http(&self, url: &Url, range: Option<ByteRange>) -> Result<Opened, SourceError> {
        let mut request = self.agent.get(url.as_str());
        if let Some(range) = range {
            request = request.header("Range", format!("bytes={}-{}", range.start(), range.end() - 1));
        }
        let http = |cause| SourceError::Http { url: url.clone(), cause: Box::new(cause) };
        let response = request.call().map_err(http)?;
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let answered = header("content-range").map(str::to_owned);
        let framed = header("content-length").is_some() || header("transfer-encoding").is_some();
        if let Some(encoding) = header("content-encoding").filter(|encoding| *encoding != "identity") {
            return Err(SourceError::Encoded { url: url.clone(), encoding: encoding.to_owned() });
        }
        let last_url = Url::parse(&response.get_uri().to_string()).unwrap_or_else(|_| url.clone());
        let body = response.into_body().into_reader();
        let reader: Box<dyn Read> = match (status, range) {
            (StatusCode::OK, None) if !framed => return Err(SourceError::Unframed { url: url.clone() }),
            (StatusCode::OK, None) => Box::new(body),
            // A server without byte ranges sends the whole file.
            (StatusCode::OK, Some(range)) => {
                let mut body = body;
                let skipped = io::copy(&mut body.by_ref().take(range.start()), &mut io::sink());
                skipped.map_err(|error| http(ureq::Error::Io(error)))?;
                Box::new(body.take(range.len()))
            }
            (StatusCode::PARTIAL_CONTENT, Some(range)) => {
                let start = format!("bytes {}-", range.start());
                if !answered.is_some_and(|answered| answered.starts_with(&start)) {
                    return Err(SourceError::WrongRange { url: url.clone() });
                }
                Box::new(body.take(range.len()))
            }
            _ => return Err(SourceError::BadStatus { url: url.clone(), status }),
        };
        Ok(Opened { url: last_url, reader })
    }
}

/// A local playlist's directory, its URL, and its file name.
fn local_playlist(path: &Path, stream: Option<&str>) -> Result<(PathBuf, Url, String), SourceError> {
    let storage = |cause| SourceError::Storage { path: path.to_owned(), cause };
    let no_file_name = || SourceError::NoFileName { uri: path.display().to_string() };
    let path = path.canonicalize().map_err(storage)?;
    let file_name = path.file_name().and_then(|name| name.to_str()).ok_or_else(no_file_name)?;
    let directory = path.parent().ok_or_else(no_file_name)?;
    let mut url = Url::parse(&format!("http://{LOCAL_HOST}/")).expect("the local host makes a URL");
    match stream.filter(|stream| stream.starts_with('/') && !stream.ends_with('/')) {
        Some(stream) => url.set_path(stream),
        None => {
            let parent = directory.file_name().and_then(|name| name.to_str());
            let mut segments = url.path_segments_mut().expect("an http URL has a path");
            segments.clear().extend(parent).push(file_name);
        }
    }
    Ok((directory.to_owned(), url, file_name.to_owned()))
}

fn open_file(path: &Path, range: Option<ByteRange>) -> io::Result<Box<dyn Read>> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let Some(range) = range else { return Ok(Box::new(file)) };
    file.seek(SeekFrom::Start(range.start()))?;
    Ok(Box::new(file.take(range.len())))
}

/// The path of a URL as one on disk, if it is a plain way downwards.
pub(super) fn decoded_path(path: &str) -> Option<PathBuf> {
    let decoded = PathBuf::from(percent_decode_str(path).decode_utf8().ok()?.as_ref());
    let plain = |component| matches!(component, Component::Normal(_));
    let safe = !decoded.as_os_str().is_empty() && decoded.components().all(plain);
    (safe && !path.contains("%00")).then_some(decoded)
}
