//! What the page's side calls.

use js_sys::Uint8Array;
use tabswarm_core::{
    content::{Manifest, SegmentKey, SegmentLen, Trust, relative_path},
    id::{BlobHandle, ContentId, FetchId, StreamId},
    identity::PublicKey,
    node::{Config, MAX_STREAMS, Persisted, Roots, Start, Stream},
    units::{ByteRange, BytesPerSec},
};
use wasm_bindgen::prelude::*;

use crate::{
    counters::{LinkReport, PeerReport},
    driver::{Driver, after},
    hooks::{Hooks, Kind, Options},
};

/// Where the roots of a stream's segments come from.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StreamRoots {
    /// The service attests them.
    Attested,
    /// An unsigned manifest, trusted for where it came from.
    Origin,
    /// A manifest signed by the publisher.
    Signed,
}

/// What became of a write to disk.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DiskWrite {
    /// Not written, for a reason that may pass.
    Failed,
    /// Not written: there is no room.
    Full,
    /// On disk.
    Kept,
}

/// One tab's peer. Methods that can fail throw a string, the error's code.
#[wasm_bindgen]
pub struct Peer {
    driver: Driver,
}

#[wasm_bindgen]
impl Peer {
    /// Starts a peer: it connects to the service as soon as a stream is open.
    ///
    /// # Errors
    /// `invalid-option` if the seed is not 32 bytes, or an issuer's key is none.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &Options, hooks: Hooks) -> Result<Peer, JsValue> {
        let seed = options.seed().to_vec().try_into().map_err(|_| code("invalid-option"))?;
        let mut config = Config::new(seed);
        let pinned = options.issuer_keys().unwrap_or_default();
        config.issuers = pinned.iter().map(|key| public_key(&key)).collect::<Result<_, _>>()?;
        config.token = options.token();
        config.cache_limit = options.cache_limit_bytes() as u64;
        config.disk_limit = options.disk_limit_bytes() as u64;
        config.upload_limit = options.upload_limit().map(rate);
        config.start = if options.economy() { Start::Economy } else { Start::Playback };
        config.near = options.near();
        config.bound_links(options.max_connections() as usize);
        config.p2p = options.p2p();
        config.deliver_signed_mismatch = options.deliver_signed_mismatch();
        let mut driver = Driver::new(config, options.signaling(), options.ice_servers(), hooks);
        driver.tell(|_, _| ());
        Ok(Self { driver })
    }

    /// Joins a stream and returns its number.
    ///
    /// In `Signed` mode the manifest must be given, and names the stream; `name` then only pins that name. In `Origin` mode
    /// the manifest may follow with `addManifest`, and `name` is the stream's.
    ///
    /// # Errors
    /// `too-many-streams`, `publisher-key`, `manifest` (does not verify), `stream-name` (another than the pinned one).
    pub fn open(
        &mut self,
        roots: StreamRoots,
        name: Option<String>,
        publisher_key: Option<String>,
        manifest: Option<Vec<u8>>,
    ) -> Result<u32, JsValue> {
        let (roots, publisher) = match roots {
            StreamRoots::Attested => (Roots::Attested, None),
            StreamRoots::Origin => (Roots::Origin, None),
            StreamRoots::Signed => {
                let key = publisher_key.as_deref().unwrap_or_default().parse::<PublicKey>();
                let key = key.map_err(|_| code("publisher-key"))?;
                (Roots::Signed(key), Some(key))
            }
        };
        let trust = publisher.map_or(Trust::Origin, Trust::Signed);
        let manifest = manifest.map(|bytes| decode(&bytes, &trust)).transpose()?;
        let named = manifest.as_ref().filter(|_| publisher.is_some()).map(|manifest| manifest.stream());
        let name = match (named, name) {
            (Some(named), Some(pinned)) if named != pinned => return Err(code("stream-name")),
            (Some(named), _) => named.to_owned(),
            (None, Some(name)) => name,
            (None, None) => return Err(code("stream-name")),
        };
        let id = StreamId::new(publisher.as_ref(), &name);
        let place = self.place(id)?;
        self.driver.tell(|node, now| node.join(Stream { id, name, roots }, now));
        if let Some(manifest) = manifest {
            self.driver.tell(|node, now| node.add_manifest(id, manifest, now));
        }
        Ok(place)
    }

    /// Gives the manifest of a stream in `Origin` mode, or a newer one: the answer to the `requestManifest` hook, or what came
    /// `along` with a playlist. Without its first one a stream's segments come over HTTP only.
    ///
    /// # Errors
    /// `manifest` if it does not verify; it is then as if none had come.
    #[wasm_bindgen(js_name = addManifest)]
    pub fn add_manifest(
        &mut self,
        stream: u32,
        manifest: Option<Vec<u8>>,
        along: bool,
    ) -> Result<(), JsValue> {
        let Some(id) = self.stream(stream) else { return Ok(()) };
        let trust = self.driver.node.trust(id).unwrap_or(Trust::Origin);
        let bytes = manifest;
        let decoded = bytes.as_deref().map(|bytes| decode(bytes, &trust)).transpose();
        let (manifest, result) = match decoded {
            Ok(manifest) => (manifest, Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.driver.tell(|node, now| match manifest {
            Some(manifest) if along => {
                let list = bytes.as_deref().and_then(|bytes| manifest.list_along(bytes));
                node.take_along(id, manifest, list, now);
            }
            Some(manifest) => node.add_manifest(id, manifest, now),
            None if along => {}
            None => node.manifest_failed(id, now),
        });
        result
    }

    /// Leaves a stream, unless it was joined under another number, too.
    #[wasm_bindgen(js_name = closeStream)]
    pub fn close_stream(&mut self, stream: u32) {
        let closed = self.driver.streams.get_mut(stream as usize).and_then(Option::take);
        if let Some(id) = closed.filter(|_| !self.driver.streams.contains(&closed)) {
            self.driver.tell(|node, now| node.leave(id, now));
        }
    }

    /// Fetches a segment of a stream; the `started` hook gets the fetch's number. `path` is the URL's path, seen from
    /// `playlistPath`; without that, it is the key's path as it stands. `rangeEnd` is exclusive; `deadlineMs` counts from now.
    ///
    /// # Errors
    /// `segment-key` if it is none.
    pub fn fetch(
        &mut self,
        stream: u32,
        playlist_path: Option<String>,
        path: &str,
        range_start: Option<f64>,
        range_end: Option<f64>,
        deadline_ms: Option<f64>,
    ) -> Result<(), JsValue> {
        let stream = self.stream(stream).ok_or_else(|| code("segment-key"))?;
        let path = playlist_path.map_or_else(|| path.to_owned(), |playlist| relative_path(&playlist, path));
        let range = match (range_start, range_end) {
            (Some(start), Some(end)) => {
                Some(ByteRange::new(start as u64, end as u64).ok_or_else(|| code("segment-key"))?)
            }
            _ => None,
        };
        let key = SegmentKey::new(path, range).map_err(|_| code("segment-key"))?;
        self.driver.fetch(stream, key, deadline_ms);
        Ok(())
    }

    /// Gives a fetch up. No hook is called for it any more.
    pub fn cancel(&mut self, fetch: f64) {
        self.driver.tell(|node, now| node.cancel(FetchId::new(fetch as u64), now));
    }

    /// Moves the deadline of a fetch to so many milliseconds from now.
    #[wasm_bindgen(js_name = setDeadline)]
    pub fn set_deadline(&mut self, fetch: f64, deadline_ms: f64) {
        let fetch = FetchId::new(fetch as u64);
        self.driver.tell(|node, now| node.set_deadline(fetch, after(now, deadline_ms), now));
    }

    /// Says that playback shows its first frame.
    #[wasm_bindgen(js_name = firstFrame)]
    pub fn first_frame(&mut self) {
        self.driver.tell(|node, now| node.handle_first_frame(now));
    }

    /// Switches P2P on or off. Off: peers and service are left, running fetches finish over HTTP.
    #[wasm_bindgen(js_name = setP2p)]
    pub fn set_p2p(&mut self, on: bool) {
        self.driver.tell(|node, now| node.set_p2p(on, now));
    }

    /// Sets how many bytes of segments a second are given to peers from now on; 0: none, and neighbours are told.
    #[wasm_bindgen(js_name = setUploadLimit)]
    pub fn set_upload_limit(&mut self, limit: Option<f64>) {
        self.driver.tell(|node, now| node.set_upload_limit(limit.map(rate), now));
    }

    /// Gives the list of what is blocked that the `keepBlocks` hook kept, before anything that is on disk.
    #[wasm_bindgen(js_name = keptBlocks)]
    pub fn kept_blocks(&mut self, list: &[u8]) {
        self.driver.tell(|node, now| node.handle_kept_blocks(list, now));
    }

    /// Says that a segment is on disk: address and stream are 64 hexadecimal digits each, the length is in bytes.
    ///
    /// # Errors
    /// `disk-entry` if that is none that a driver would have written.
    pub fn restored(&mut self, content: &str, stream: &str, len: f64) -> Result<(), JsValue> {
        let entry = (content.parse::<ContentId>(), stream.parse::<StreamId>(), SegmentLen::new(len as u64));
        let (Ok(content), Ok(stream), Ok(len)) = entry else { return Err(code("disk-entry")) };
        self.driver.node.handle_restored(stream, content, len);
        Ok(())
    }

    /// Says how a write to disk went, by the segment's address.
    pub fn persisted(&mut self, content: &str, write: DiskWrite) {
        let Ok(content) = content.parse::<ContentId>() else { return };
        let persisted = match write {
            DiskWrite::Failed => Persisted::Failed,
            DiskWrite::Full => Persisted::Full,
            DiskWrite::Kept => Persisted::Kept,
        };
        self.driver.tell(|node, now| node.handle_persisted(content, persisted, now));
    }

    /// Gives what the `load` hook asked for: all bytes, of which those from `start` to `end` are looked at now, so that none of
    /// the calls that follow each other takes long. Without bytes it was all, or can't be read.
    #[wasm_bindgen(js_name = blobRead)]
    pub fn blob_read(&mut self, blob: f64, bytes: Option<Uint8Array>, start: u32, end: u32) {
        self.driver.blob_read(BlobHandle::new(blob as u64), bytes, start, end);
    }

    /// Counters.
    pub fn report(&self) -> PeerReport {
        self.driver.report_counters()
    }

    /// What the mesh is and did: numbers in the order of `TabswarmMesh`.
    pub fn mesh(&self) -> Vec<f64> {
        self.driver.report_mesh()
    }

    /// Connections, open and being made.
    pub fn links(&self) -> Vec<LinkReport> {
        self.driver.report_links()
    }

    /// Has the statistics of every connection passed to the `pathReport` hook.
    #[wasm_bindgen(js_name = pollPaths)]
    pub fn poll_paths(&self) {
        let report = self.driver.hooks.path_report();
        for link in self.driver.links.iter() {
            link.report_path(&report, self.driver.links.callbacks());
        }
    }

    /// Takes an event that the browser gave to the `dispatch` hook.
    pub fn dispatch(&mut self, kind: u32, id: f64, value: JsValue) {
        if let Some(kind) = Kind::from_number(kind) {
            self.driver.dispatch(kind, id as u64, value);
        }
    }

    /// Says goodbye to peers and service, as on `pagehide`.
    #[wasm_bindgen(js_name = shutDown)]
    pub fn shut_down(&mut self) {
        self.driver.tell(|node, now| node.shut_down(now));
    }

    /// Lets go of every connection, request, timer and blob at once. Only `free` may follow.
    pub fn close(&mut self) {
        self.driver.close_all();
    }

    fn stream(&self, place: u32) -> Option<StreamId> {
        self.driver.streams.get(place as usize).copied().flatten()
    }

    fn place(&mut self, id: StreamId) -> Result<u32, JsValue> {
        let streams = &mut self.driver.streams;
        if streams.iter().flatten().count() >= MAX_STREAMS {
            return Err(code("too-many-streams"));
        }
        streams.push(Some(id));
        Ok(streams.len() as u32 - 1)
    }
}

fn code(code: &str) -> JsValue {
    JsValue::from_str(code)
}

fn rate(bytes_per_second: f64) -> BytesPerSec {
    BytesPerSec::new(bytes_per_second as u64)
}

fn public_key(key: &JsValue) -> Result<PublicKey, JsValue> {
    key.as_string().and_then(|key| key.parse().ok()).ok_or_else(|| code("invalid-option"))
}

fn decode(bytes: &[u8], trust: &Trust) -> Result<Manifest, JsValue> {
    Manifest::decode(bytes, trust).map_err(|_| code("manifest"))
}
