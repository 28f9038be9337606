//! The block list: who hears of it, and when.

use std::{fs, path::PathBuf};

use tabswarm_core::{content::BlockList, id::ContentId, wire::ServiceMessage};
use tabswarm_signaling::{Config, Service, StartError};
use tempfile::TempDir;

use crate::{
    client::Client,
    harness::{Harness, state_dir},
};

fn id(digit: char) -> ContentId {
    digit.to_string().repeat(64).parse().expect("it is 64 digits")
}

fn file(lines: &[ContentId]) -> (TempDir, PathBuf) {
    let dir = state_dir();
    let path = dir.path().join("blocked");
    write(&path, lines);
    (dir, path)
}

fn write(path: &PathBuf, lines: &[ContentId]) {
    let text: String = lines.iter().map(|id| format!("{id}\n")).collect();
    fs::write(path, text).expect("the file can be written");
}

/// The next list that a peer is told.
async fn list(client: &mut Client) -> BlockList {
    let signed = client
        .until(|message| match message {
            ServiceMessage::Blocked(list) => Some(list),
            _ => None,
        })
        .await;
    signed.verify(&client.welcome.issuers).expect("the issuer signed it")
}

#[tokio::test]
async fn a_list_comes_with_the_welcome_and_whenever_it_changes() {
    let (_dir, path) = file(&[id('a')]);
    let harness = Harness::start(Config { blocklist: Some(path.clone()), ..Config::default() }).await;
    let mut first = Client::connect(harness.address, 1).await;
    let before = list(&mut first).await;
    assert_eq!(before.contents[..], [id('a')]);
    // A file that is wrong changes nothing, and neither does one that is gone.
    fs::write(&path, "no address\n").unwrap();
    fs::remove_file(&path).unwrap();
    write(&path, &[id('c'), id('b')]);
    let after = list(&mut first).await;
    assert_eq!(after.contents[..], [id('b'), id('c')]);
    assert!(after.issued > before.issued);
    let mut second = Client::connect(harness.address, 2).await;
    assert_eq!(list(&mut second).await, after);
}

#[tokio::test]
async fn a_list_that_is_none_is_an_error_at_the_start() {
    let (dir, path) = file(&[]);
    fs::write(&path, "segment-05.m4s\n").unwrap();
    let config = Config { state_dir: dir.path().to_owned(), blocklist: Some(path), ..Config::default() };
    assert!(matches!(Service::start(config), Err(StartError::Blocklist(_))));
}
