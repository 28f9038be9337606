//! The built command as a process: it says where it listens, ends cleanly, and explains a bad option.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tabswarm-signaling"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Ended with the test, whatever comes of it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)]
#[test]
fn it_serves_until_sigterm_and_ends_cleanly() {
    let state = tempfile::tempdir().unwrap();
    let mut command = command();
    command.args(["serve", "--listen", "127.0.0.1:0", "--state-dir"]).arg(state.path());
    let mut running = Running(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("http://").expect("it prints its address").to_owned();

    let mut socket = TcpStream::connect(&address).unwrap();
    write!(socket, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"version\""), "{answer}");
    assert!(state.path().join("issuer.key").is_file());

    let killed = Command::new("kill").args(["-TERM", &running.0.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert!(running.0.wait().unwrap().success());
}

#[test]
fn a_bad_option_ends_it_with_a_reason() {
    let private = ["serve", "--listen", "127.0.0.1:0", "--attest-origin", "http://10.0.0.1"];
    let state = tempfile::tempdir().unwrap();
    let output = command().args(private).arg("--state-dir").arg(state.path()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(error.contains("--allow-private-origin"), "{error}");
}
