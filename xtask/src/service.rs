//! A running `tabswarm-signaling dev`.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// Longest first line that is read: an address is shorter.
const MAX_LINE_BYTES: u64 = 256;

/// The child process. It ends with this value.
pub(crate) struct Service {
    child: Child,
    url: String,
}

impl Service {
    /// Starts `command` and returns once it has printed its address, which it does when it listens.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the signaling service")?;
        let stdout = child.stdout.take().context("the signaling service has no output")?;
        let mut service = Self { child, url: String::new() };
        BufReader::new(stdout.take(MAX_LINE_BYTES))
            .read_line(&mut service.url)
            .context("cannot read the signaling service's address")?;
        if !service.url.ends_with('\n') {
            bail!("the signaling service ended at once: {}", service.child.wait()?);
        }
        service.url.truncate(service.url.trim_end().len());
        Ok(service)
    }

    /// Where the demo page is.
    pub(crate) fn url(&self) -> &str {
        &self.url
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

/// Where to listen on the loopback interface: on the given port, else on `preferred` if nobody has it, else on any.
pub(crate) fn address(given: Option<u16>, preferred: u16) -> SocketAddr {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let port = given.or(Some(preferred).filter(is_free)).unwrap_or(0);
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_taken_port_gives_another() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_eq!(address(None, port).port(), 0);
        assert_eq!(address(Some(port), 1).port(), port);
        drop(taken);
        // A child that another test is just starting holds the socket too, until it has become its program.
        let end = Instant::now() + Duration::from_secs(60);
        while address(None, port).port() != port {
            assert!(Instant::now() < end, "port {port} stays taken");
            thread::yield_now();
        }
    }

    #[test]
    fn the_address_is_the_one_the_service_prints() {
        let service = Service::start(Command::new("echo").arg("http://127.0.0.1:4321")).unwrap();
        assert_eq!(service.url(), "http://127.0.0.1:4321");
        assert!(service.wait().unwrap().success());
    }

    #[test]
    fn a_service_that_ends_without_an_address_is_an_error() {
        for program in ["false", "true"] {
            let error = Service::start(&mut Command::new(program)).err().unwrap();
            assert!(error.to_string().contains("ended at once"), "{error}");
        }
    }
}
