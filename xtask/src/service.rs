//! A running `tabswarm-signaling dev`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Longest wait for a started service to answer.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks at whether it answers.
const POLL: Duration = Duration::from_millis(50);
/// Longest health answer that is read.
const MAX_ANSWER_BYTES: u64 = 4096;

/// The child process. It ends with this value.
pub(crate) struct Service {
    child: Child,
    address: SocketAddr,
}

impl Service {
    /// Starts `command`, which listens on `address`, and returns once it answers `/healthz`.
    pub(crate) fn start(command: &mut Command, address: SocketAddr) -> Result<Self> {
        let child = command.stdin(Stdio::null()).spawn().context("cannot start the signaling service")?;
        let mut service = Self { child, address };
        let start = Instant::now();
        while !is_healthy(address) {
            if let Some(status) = service.child.try_wait()? {
                bail!("the signaling service ended at once: {status}");
            }
            if start.elapsed() > START_LIMIT {
                bail!("the signaling service did not answer within {} s", START_LIMIT.as_secs());
            }
            thread::sleep(POLL);
        }
        Ok(service)
    }

    /// Where the demo page is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Waits until the service ends by itself or by Ctrl-C, which reaches it too.
    pub(crate) fn wait(mut self) -> Result<ExitStatus> {
        self.child.wait().context("cannot wait for the signaling service")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail only when the service has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address on the loopback interface: the given port, else `preferred` if nobody has it, else any.
pub(crate) fn address(given: Option<u16>, preferred: u16) -> Result<SocketAddr> {
    if let Some(port) = given.filter(|port| *port != 0) {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let wanted = if given.is_some() { 0 } else { preferred };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    listener.and_then(|listener| listener.local_addr()).context("no free port on 127.0.0.1")
}

fn is_healthy(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, START_LIMIT)?;
        stream.set_read_timeout(Some(START_LIMIT))?;
        let question = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(question.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
        Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;

    #[test]
    fn a_taken_port_gives_another() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(address(None, port).unwrap().port(), port);
        assert_eq!(address(Some(port), 1).unwrap().port(), port);
    }

    #[test]
    fn only_an_answer_of_200_is_healthy() {
        for (line, healthy) in [("HTTP/1.1 200 OK", true), ("HTTP/1.1 503 Service Unavailable", false)] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                // Read to the empty line: closing with bytes unread would reset the connection.
                let request = BufReader::new(&stream).lines().map_while(Result::ok);
                assert!(request.take_while(|line| !line.is_empty()).count() > 0);
                let answer = format!("{line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
            });
            assert_eq!(is_healthy(address), healthy);
            server.join().unwrap();
        }
    }

    #[test]
    fn a_service_that_ends_at_once_is_an_error() {
        let address = address(Some(0), 0).unwrap();
        let error = Service::start(&mut Command::new("false"), address).err().unwrap();
        assert!(error.to_string().contains("ended at once"), "{error}");
    }
}
