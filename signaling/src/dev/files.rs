//! The directories of the development service, with the MIME types of streaming and open to every page.

use std::path::{Path, PathBuf};

use axum::{
    Router,
    extract::Request,
    http::{
        HeaderName, HeaderValue, Method,
        header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE},
    },
    middleware::{Next, from_fn},
    response::Response,
};
use tower_http::{
    cors::{Any, CorsLayer},
    services::ServeDir,
};

use super::DevOptions;

/// A directory that can't be served.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{} has no {missing}: {remedy}", dir.display())]
pub struct DirectoryError {
    dir: PathBuf,
    missing: &'static str,
    remedy: &'static str,
}

fn directory(dir: &Path, missing: &'static str, remedy: &'static str) -> Result<ServeDir, DirectoryError> {
    if dir.join(missing).is_file() {
        return Ok(ServeDir::new(dir));
    }
    Err(DirectoryError { dir: dir.to_owned(), missing, remedy })
}

pub(super) fn routes<S>(options: &DevOptions) -> Result<Router<S>, DirectoryError>
where
    S: Clone + Send + Sync + 'static,
{
    let build = "build it with `cargo xtask demo`, or name another directory";
    let demo = directory(&options.demo_dir, "index.html", build)?;
    let npm = directory(&options.npm_dir, "index.js", build)?;
    let sample = directory(&options.sample_dir, "master.m3u8", "name a directory with an HLS stream")?;
    Ok(Router::new().nest_service("/npm", npm).nest_service("/sample", sample).fallback_service(demo))
}

/// Headers of everything that is served here.
pub(super) fn finish(routes: Router) -> Router {
    // Every page may read: the sample stands for a CDN, and pages of other ports and host names try the package.
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers(Any)
        .expose_headers([CONTENT_RANGE, CONTENT_LENGTH, HeaderName::from_static("accept-ranges")]);
    routes.layer(from_fn(set_headers)).layer(cors)
}

async fn set_headers(request: Request, next: Next) -> Response {
    let content_type = content_type(request.uri().path());
    let mut response = next.run(request).await;
    let succeeded = response.status().is_success();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(content_type) = content_type.filter(|_| succeeded) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

/// The types that the table behind `ServeDir` has not, or has in another form.
fn content_type(path: &str) -> Option<&'static str> {
    let (_, extension) = path.rsplit_once('/')?.1.rsplit_once('.')?;
    Some(match extension {
        "m3u8" => "application/vnd.apple.mpegurl",
        "m4s" => "video/iso.segment",
        "mp4" | "m4v" => "video/mp4",
        "m4a" => "audio/mp4",
        "ts" => "video/mp2t",
        "wasm" => "application/wasm",
        "js" | "mjs" => "text/javascript",
        "groups" | "tabswarm" => "application/octet-stream",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streaming_types_are_known() {
        assert_eq!(content_type("/sample/master.m3u8"), Some("application/vnd.apple.mpegurl"));
        assert_eq!(content_type("/sample/v0/1.m4s"), Some("video/iso.segment"));
        assert_eq!(content_type("/sample/master.m3u8.tabswarm"), Some("application/octet-stream"));
        assert_eq!(content_type("/npm/tabswarm_bg.wasm"), Some("application/wasm"));
        assert_eq!(content_type("/a.m4s/b"), None);
        assert_eq!(content_type("/"), None);
    }
}
