//! TLS in front of a plain server: a certificate of the test's own, and a process that passes everything on.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

/// A running front; it ends when this value goes.
pub struct TlsFront {
    child: Child,
    certificate: PathBuf,
}

const SCRIPT: &str = "
import asyncio, ssl, sys
port, behind, certificate, key = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
async def pass_on(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
async def serve(reader, writer):
    try:
        there, back = await asyncio.open_connection('127.0.0.1', behind)
    except OSError:
        writer.close()
        return
    await asyncio.gather(pass_on(reader, back), pass_on(there, writer))
async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(serve, '127.0.0.1', port, ssl=context)
    await server.serve_forever()
asyncio.run(main())
";

/// A port that is free now.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl TlsFront {
    /// Listens on `port` and passes everything on to `behind`, with a certificate made in `folder`.
    pub fn start(folder: &Path, port: u16, behind: u16) -> anyhow::Result<Self> {
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .context("openssl is missing")?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let child = Command::new("python3")
            .args(["-c", SCRIPT, &port.to_string(), &behind.to_string()])
            .arg(&certificate)
            .arg(&key)
            .stderr(Stdio::null())
            .spawn()?;
        let front = Self { child, certificate };
        for _ in 0..200 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(front);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the front does not listen")
    }

    /// The certificate, which is its own authority.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_reaped = self.child.wait();
    }
}
