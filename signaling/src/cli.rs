//! Command line of `tabswarm-signaling`: options, their defaults, and what is wrong with a bad one.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tabswarm_core::identity::PublicKey;
use tabswarm_signaling::{
    AccessToken, AttestExtension, AttestOrigin, Config,
    dev::{DevOptions, RootsMode},
};
use tabswarm_turn_config::{DEFAULT_CREDENTIAL_LIFETIME, IceServers, IceUrl, SharedSecret, TurnRelay};

/// The tabswarm signaling and index service.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the service. TLS is the work of a proxy in front of it.
    Serve(ServeArgs),
    /// Runs the service for development, with the demo, a sample stream and STUN on the same port.
    Dev(DevArgs),
}

/// Options of both commands.
#[derive(Args, Debug)]
struct CommonArgs {
    /// Directory of the issuer's key; made on first start. Who loses it begins a new network.
    #[arg(long, value_name = "DIR", default_value = "tabswarm-state")]
    state_dir: PathBuf,
    /// Access token that peers must show; several are possible. Without one everybody may connect.
    #[arg(long = "token", value_name = "TOKEN", env = "TABSWARM_TOKEN", hide_env_values = true)]
    tokens: Vec<String>,
    /// Origin that segments are attested from: a URL for all streams, or `/prefix/=URL`; several are possible.
    #[arg(long = "attest-origin", value_name = "URL")]
    attest_origins: Vec<String>,
    /// Header that the attestor sends to its origin, `Name: value`.
    #[arg(long, value_name = "HEADER", env = "TABSWARM_ATTEST_HEADER", hide_env_values = true)]
    attest_header: Option<String>,
    /// Extension of segments besides the usual ones, such as `seg`; files with others are not attested.
    #[arg(long = "attest-extension", value_name = "EXTENSION")]
    attest_extensions: Vec<AttestExtension>,
    /// File with the content ids that no peer is to keep, give or take, one a line; it is read again when it changes.
    #[arg(long, value_name = "FILE")]
    blocklist: Option<PathBuf>,
}

impl CommonArgs {
    fn attest(&self) -> Result<Vec<AttestOrigin>> {
        let header = self.attest_header.as_deref();
        if header.is_some() && self.attest_origins.len() != 1 {
            bail!(
                "--attest-header needs exactly one --attest-origin, so that no other origin sees the credential"
            );
        }
        let origins = self.attest_origins.iter().map(|origin| match origin.split_once('=') {
            Some((prefix, url)) if prefix.starts_with('/') => AttestOrigin::new(prefix, url, header),
            _ => AttestOrigin::new("/", origin, header),
        });
        origins.collect::<Result<_, _>>().context("--attest-origin")
    }

    fn config(&self) -> Result<Config> {
        let tokens = self.tokens.iter().map(|token| AccessToken::new(token)).collect::<Result<_, _>>();
        Ok(Config {
            state_dir: self.state_dir.clone(),
            tokens: tokens.context("--token")?,
            attest: self.attest()?,
            attest_extensions: self.attest_extensions.clone(),
            blocklist: self.blocklist.clone(),
            ..Config::default()
        })
    }
}

#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Address of HTTP and WebSocket.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    #[command(flatten)]
    common: CommonArgs,
    /// Lets origins of the attestor be at loopback and private addresses.
    #[arg(long)]
    allow_private_origin: bool,
    /// Header in which the proxy in front adds the client's address, such as `X-Forwarded-For`. Believed only from
    /// loopback and private addresses. Without it all clients of a proxy count as one place without limits.
    #[arg(long, value_name = "NAME")]
    client_address_header: Option<String>,
    /// STUN server for peers, such as stun:stun.example.org:3478; several are possible.
    #[arg(long = "stun-url", value_name = "URL")]
    stun_urls: Vec<IceUrl>,
    /// TURN server for peers, such as turn:relay.example.org:3478?transport=udp; several are possible.
    #[arg(long = "turn-url", value_name = "URL", requires = "turn_secret")]
    turn_urls: Vec<IceUrl>,
    /// The `static-auth-secret` of the TURN servers.
    #[arg(long, value_name = "SECRET", env = "TABSWARM_TURN_SECRET", hide_env_values = true)]
    turn_secret: Option<String>,
    /// UDP address of a STUN server of its own; name it to peers with --stun-url.
    #[arg(long, value_name = "ADDRESS", requires = "stun_urls")]
    stun_listen: Option<SocketAddr>,
}

/// What `serve` runs with.
pub(crate) struct ServeOptions {
    pub(crate) listen: SocketAddr,
    pub(crate) stun_listen: Option<SocketAddr>,
    pub(crate) config: Config,
}

impl ServeArgs {
    pub(crate) fn options(self) -> Result<ServeOptions> {
        let secret =
            self.turn_secret.as_deref().map(SharedSecret::new).transpose().context("--turn-secret")?;
        let urls = self.turn_urls;
        let turn = secret.map(|secret| TurnRelay { urls, secret, lifetime: DEFAULT_CREDENTIAL_LIFETIME });
        let ice = IceServers::new(self.stun_urls, turn).context("--stun-url and --turn-url")?;
        let header = self.client_address_header.map(|name| name.parse()).transpose();
        let config = Config {
            ice,
            allow_private_origin: self.allow_private_origin,
            client_address_header: header.context("--client-address-header is not the name of a header")?,
            ..self.common.config()?
        };
        Ok(ServeOptions { listen: self.listen, stun_listen: self.stun_listen, config })
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Attested,
    Origin,
    Signed,
}

#[derive(Args, Debug)]
pub(crate) struct DevArgs {
    /// Address of HTTP, WebSocket and, on UDP, STUN.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    #[command(flatten)]
    common: CommonArgs,
    /// The built demo, served at /.
    #[arg(long, value_name = "DIR", default_value = "web-demo/dist")]
    demo_dir: PathBuf,
    /// The built npm package, served at /npm/.
    #[arg(long, value_name = "DIR", default_value = "wasm-peer/npm/dist")]
    npm_dir: PathBuf,
    /// The sample stream with master.m3u8, served at /sample/.
    #[arg(long, value_name = "DIR", default_value = "sample")]
    sample_dir: PathBuf,
    /// Where the demo takes the roots of segments from; `signed` if there is a publisher's key, else `attested`.
    #[arg(long)]
    mode: Option<Mode>,
    /// The publisher's public key, 64 hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    publisher_key: Option<String>,
}

impl DevArgs {
    pub(crate) fn options(self) -> Result<DevOptions> {
        let given = self.publisher_key.as_deref().filter(|key| !key.is_empty());
        let publisher_key = given.map(|key| key.parse::<PublicKey>()).transpose();
        let publisher_key = publisher_key
            .context("--publisher-key is not an Ed25519 public key of 64 hexadecimal digits, as `tabswarm publish` prints it")?;
        let mode = match self.mode {
            Some(Mode::Attested) => RootsMode::Attested,
            Some(Mode::Origin) => RootsMode::Origin,
            Some(Mode::Signed) => RootsMode::Signed,
            None if publisher_key.is_some() => RootsMode::Signed,
            None => RootsMode::Attested,
        };
        let service = Config { allow_private_origin: true, ..self.common.config()? };
        let (listen, demo_dir, npm_dir) = (self.listen, self.demo_dir, self.npm_dir);
        Ok(DevOptions {
            listen,
            demo_dir,
            npm_dir,
            sample_dir: self.sample_dir,
            mode,
            publisher_key,
            service,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<()> {
        let cli = Cli::try_parse_from([&["tabswarm-signaling"], args].concat())?;
        match cli.command {
            Command::Serve(args) => args.options().map(drop),
            Command::Dev(args) => args.options().map(drop),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
        parse(&["serve"]).unwrap();
        parse(&["dev", "--mode", "origin", "--publisher-key", ""]).unwrap();
        parse(&[
            "serve",
            "--attest-origin",
            "/live/=https://a.example",
            "--attest-origin",
            "https://b.example",
        ])
        .unwrap();
        parse(&["serve", "--turn-url", "turn:a.example", "--turn-secret", "north wind, east wind"]).unwrap();
    }

    #[test]
    fn a_bad_value_says_what_to_do() {
        let cases: [(&[&str], &str); 11] = [
            (&["--listen", "8080"], "--listen"),
            (&["--token", ""], "leave the option out"),
            (&["--attest-origin", "a.example"], "must be http:// or https://"),
            (&["--attest-origin", "/live=https://a.example"], "begin and end with /"),
            (&["--attest-header", "A: b"], "exactly one --attest-origin"),
            (&["--attest-origin", "https://a.example", "--attest-header", "Bearer x"], "Name: value"),
            (&["--attest-extension", "*"], "letters and digits"),
            (&["--stun-url", "stun.example.org"], "stun:"),
            (&["--turn-url", "turn:a.example"], "--turn-secret"),
            (&["--turn-url", "turn:a.example", "--turn-secret", "short"], "at least 16"),
            (&["--stun-listen", "0.0.0.0:3478"], "--stun-url"),
        ];
        for (args, expected) in cases {
            let error = format!("{:#}", parse(&[&["serve"], args].concat()).unwrap_err());
            assert!(error.contains(expected), "{args:?}: {error}");
        }
        let error = format!("{:#}", parse(&["dev", "--publisher-key", "12"]).unwrap_err());
        assert!(error.contains("64 hexadecimal digits"), "{error}");
    }
}
