//! A web server that serves pictures and fails in every way an HTTP server can. The URL says how: a test knows what has to
//! come of each.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// Another status than 200, with a short body.
    Status(u16),
    /// 429 with a `Retry-After` of two hours.
    BusyForHours,
    /// 503 with a `Retry-After` of one second the first time, the picture the second time.
    BusyOnce,
    /// 500 the first time, the picture the second time.
    BrokenOnce,
    /// The connection is reset the first time, the picture comes the second time.
    ResetOnce,
    /// The connection is closed before any answer.
    CloseAtOnce,
    /// No answer ever.
    Silence,
    /// The head of the answer, then nothing.
    SilenceAfterHead,
    /// A byte a second.
    Drip,
    /// The connection is reset in the middle of the picture.
    Reset,
    /// The connection is closed in the middle of the picture.
    Truncated,
    /// `Content-Length` says more than comes.
    LengthTooLong,
    /// `Content-Length` says less than comes: a picture that is cut off.
    LengthTooShort,
    /// `Content-Length` is no number.
    LengthNonsense,
    /// Chunks that are none.
    BrokenChunks,
    /// `Content-Encoding: gzip` over something else.
    NoGzip,
    /// A gigabyte is promised.
    HugePromise,
    /// More bytes than allowed, without a promise.
    HugeBody,
    /// Bytes that are no HTTP.
    NoHttp,
    /// A head that never ends.
    EndlessHead,
    /// A page of HTML with status 200.
    Html,
    /// Nothing, with status 200.
    Empty,
    /// A JPEG whose second half is missing, with a right length.
    HalfPicture,
    /// Random bytes behind a JPEG's first ones.
    Garbage,
    /// A redirect to itself.
    RedirectLoop,
    /// A redirect to a private address.
    RedirectPrivate,
    /// A redirect to the metadata service of a cloud.
    RedirectMetadata,
    /// A redirect to a file.
    RedirectFile,
    /// A redirect without a place.
    RedirectNowhere,
    /// Three redirects, then the picture.
    RedirectThrice,
}

/// All of them.
pub const FAULTS: &[Fault] = &[
    Fault::Status(204),
    Fault::Status(400),
    Fault::Status(401),
    Fault::Status(403),
    Fault::Status(404),
    Fault::Status(410),
    Fault::Status(413),
    Fault::Status(418),
    Fault::Status(451),
    Fault::Status(500),
    Fault::Status(502),
    Fault::Status(504),
    Fault::BusyForHours,
    Fault::BusyOnce,
    Fault::BrokenOnce,
    Fault::ResetOnce,
    Fault::CloseAtOnce,
    Fault::Silence,
    Fault::SilenceAfterHead,
    Fault::Drip,
    Fault::Reset,
    Fault::Truncated,
    Fault::LengthTooLong,
    Fault::LengthTooShort,
    Fault::LengthNonsense,
    Fault::BrokenChunks,
    Fault::NoGzip,
    Fault::HugePromise,
    Fault::HugeBody,
    Fault::NoHttp,
    Fault::EndlessHead,
    Fault::Html,
    Fault::Empty,
    Fault::HalfPicture,
    Fault::Garbage,
    Fault::RedirectLoop,
    Fault::RedirectPrivate,
    Fault::RedirectMetadata,
    Fault::RedirectFile,
    Fault::RedirectNowhere,
    Fault::RedirectThrice,
];

impl Fault {
    /// The reason of the dead letter that comes of it; `None` if the picture is had in the end.
    pub fn reason(self) -> Option<&'static str> {
        Some(match self {
            Self::BusyOnce | Self::BrokenOnce | Self::ResetOnce | Self::RedirectThrice => return None,
            Self::Status(404 | 410) => "not_found",
            Self::Status(401 | 403 | 451) => "denied",
            Self::Status(413) | Self::HugePromise | Self::HugeBody => "too_large",
            Self::Status(_) => "unexpected_status",
            Self::BusyForHours => "throttled",
            Self::Silence | Self::SilenceAfterHead | Self::Drip => "timeout",
            Self::CloseAtOnce
            | Self::Reset
            | Self::Truncated
            | Self::LengthTooLong
            | Self::LengthNonsense
            | Self::BrokenChunks
            | Self::NoHttp
            | Self::EndlessHead => "unreachable",
            Self::Html | Self::Empty => "not_an_image",
            Self::NoGzip | Self::HalfPicture | Self::LengthTooShort | Self::Garbage => "corrupt_image",
            Self::RedirectLoop => "too_many_redirects",
            Self::RedirectPrivate | Self::RedirectMetadata => "address_refused",
            Self::RedirectFile | Self::RedirectNowhere => "url_refused",
        })
    }

    /// As it stands in a URL.
    fn slug(self) -> String {
        match self {
            Self::Status(code) => format!("status{code}"),
            other => format!("{other:?}"),
        }
    }
}

/// A running server; pictures may be added while it runs.
#[derive(Clone)]
pub struct FaultServer {
    address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    pictures: Mutex<HashMap<String, Arc<[u8]>>>,
    /// How often each URL that fails only at first was asked for.
    asked: Mutex<HashMap<String, u32>>,
    requests: AtomicU64,
}

/// Loopback addresses that stand for as many hosts.
const HOSTS: usize = 32;

impl FaultServer {
    /// Starts on a free port of every loopback address.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let address = listener.local_addr()?;
        let server = Self { address, inner: Arc::default() };
        let inner = Arc::clone(&server.inner);
        tokio::spawn(async move {
            loop {
                // Too many open files, for a moment: whoever waits is served later.
                let Ok((stream, _)) = listener.accept().await else { continue };
                let inner = Arc::clone(&inner);
                tokio::spawn(async move { drop(serve(stream, &inner).await) });
            }
        });
        Ok(server)
    }

    /// Serves these bytes under this name.
    pub fn put(&self, name: &str, bytes: impl Into<Arc<[u8]>>) {
        self.pictures().insert(name.to_owned(), bytes.into());
    }

    fn pictures(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<[u8]>>> {
        self.inner.pictures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A URL of a picture. `salt` makes URLs of one picture differ, and chooses one of many hosts. A name followed by `+` and
    /// any text is another file that shows the same picture.
    pub fn url(&self, name: &str, fault: Option<Fault>, salt: u64) -> String {
        let host = 1 + salt as usize % HOSTS;
        let way = fault.map_or_else(|| "ok".to_owned(), Fault::slug);
        format!("http://127.0.0.{host}:{}/{way}/{salt}/{name}", self.address.port())
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.inner.requests.load(Ordering::Relaxed)
    }
}

/// Answers the requests of a connection until a fault ends it.
async fn serve(mut stream: TcpStream, inner: &Inner) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut held = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let end = loop {
            if let Some(end) = held.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                n => held.extend_from_slice(&buffer[..n]),
            }
        };
        let head = String::from_utf8_lossy(&held[..end]).into_owned();
        held.drain(..end);
        inner.requests.fetch_add(1, Ordering::Relaxed);
        let target = head.split_whitespace().nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
        if !answer(&mut stream, &target, inner).await? {
            return Ok(());
        }
    }
}

fn head(status: u16, headers: &str, length: usize) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n").into_bytes()
}

/// Sends a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    drop(stream.set_zero_linger());
}

/// Whether the connection may be used again.
async fn answer(stream: &mut TcpStream, target: &str, inner: &Inner) -> std::io::Result<bool> {
    let mut parts = target.splitn(3, '/');
    let (way, salt, name) =
        (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    // Bytes behind the end of a JPEG change nothing but its hash.
    let (name_of, tail) = name.split_once('+').unwrap_or((name, ""));
    let picture = inner.pictures.lock().unwrap_or_else(PoisonError::into_inner).get(name_of).cloned();
    let picture = picture.map(|bytes| [&bytes, tail.as_bytes()].concat());
    let Some(picture) = picture else {
        stream.write_all(&head(404, "", 0)).await?;
        return Ok(true);
    };
    let whole = [head(200, "content-type: image/jpeg\r\n", picture.len()), picture.clone()].concat();
    let half = picture.len() / 2;
    let first_time = || {
        let mut asked = inner.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let times = asked.entry(target.to_owned()).or_default();
        *times += 1;
        *times == 1
    };
    if let Some(status) = way.strip_prefix("status").and_then(|code| code.parse().ok()) {
        // A 204 has no body and no length.
        let answer = if status == 204 { b"HTTP/1.1 204 X\r\n\r\n".to_vec() } else { head(status, "", 0) };
        stream.write_all(&answer).await?;
        return Ok(true);
    }
    let to = |place: String| head(302, &format!("location: {place}\r\n"), 0);
    match way {
        "ok" => stream.write_all(&whole).await?,
        "BusyForHours" => stream.write_all(&head(429, "retry-after: 7200\r\n", 0)).await?,
        "BusyOnce" if first_time() => stream.write_all(&head(503, "retry-after: 1\r\n", 0)).await?,
        "BrokenOnce" if first_time() => stream.write_all(&head(500, "", 0)).await?,
        "ResetOnce" if first_time() => {
            reset(stream);
            return Ok(false);
        }
        "BusyOnce" | "BrokenOnce" | "ResetOnce" => stream.write_all(&whole).await?,
        "CloseAtOnce" => return Ok(false),
        "Silence" => return wait_for_the_end(stream).await,
        "SilenceAfterHead" => {
            stream.write_all(&head(200, "", picture.len())).await?;
            return wait_for_the_end(stream).await;
        }
        "Drip" => {
            stream.write_all(&head(200, "", picture.len())).await?;
            for byte in picture.iter() {
                stream.write_all(&[*byte]).await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        "Reset" => {
            stream.write_all(&whole[..whole.len() - half]).await?;
            // What was written is thrown away by a reset, so it is given a moment.
            tokio::time::sleep(Duration::from_millis(5)).await;
            reset(stream);
            return Ok(false);
        }
        "Truncated" => {
            stream.write_all(&whole[..whole.len() - half]).await?;
            return Ok(false);
        }
        "LengthTooLong" => {
            stream.write_all(&[head(200, "", picture.len() + 100), picture.to_vec()].concat()).await?;
            return Ok(false);
        }
        "LengthTooShort" => {
            stream.write_all(&[head(200, "", half), picture.to_vec()].concat()).await?;
            return Ok(false);
        }
        "LengthNonsense" => {
            stream.write_all(b"HTTP/1.1 200 X\r\ncontent-length: many\r\n\r\n").await?;
            stream.write_all(&picture).await?;
            return Ok(false);
        }
        "BrokenChunks" => {
            stream.write_all(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n").await?;
            return Ok(false);
        }
        "NoGzip" => {
            let head = head(200, "content-encoding: gzip\r\n", picture.len());
            stream.write_all(&[head, picture.to_vec()].concat()).await?;
        }
        "HugePromise" => {
            stream.write_all(&head(200, "", 1 << 30)).await?;
            return Ok(false);
        }
        "HugeBody" => {
            stream.write_all(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            loop {
                // Ends when nobody listens any more.
                stream.write_all(b"10000\r\n").await?;
                stream.write_all(&[0xff; 0x10000]).await?;
                stream.write_all(b"\r\n").await?;
            }
        }
        "NoHttp" => {
            stream.write_all(b"\x00\x01\x02SSH-2.0-nothing to see here\r\n\r\n").await?;
            return Ok(false);
        }
        "EndlessHead" => {
            stream.write_all(b"HTTP/1.1 200 X\r\n").await?;
            loop {
                stream.write_all(&[b"x-padding: ".as_slice(), &[b'x'; 4000], b"\r\n"].concat()).await?;
            }
        }
        "Html" => {
            let page = b"<!doctype html><title>Please log in</title>";
            stream
                .write_all(&[head(200, "content-type: text/html\r\n", page.len()), page.to_vec()].concat())
                .await?;
        }
        "Empty" => stream.write_all(&head(200, "", 0)).await?,
        "HalfPicture" => stream.write_all(&[head(200, "", half), picture[..half].to_vec()].concat()).await?,
        "Garbage" => {
            // The same bytes every time: what a decoder says to them must be known.
            let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
            let mut bytes = picture[..picture.len().min(4)].to_vec();
            while bytes.len() < 500 {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                bytes.push((noise >> 56) as u8);
            }
            stream.write_all(&[head(200, "", bytes.len()), bytes].concat()).await?;
        }
        "RedirectLoop" => stream.write_all(&to(format!("/{target}"))).await?,
        "RedirectPrivate" => stream.write_all(&to("http://10.0.0.1/x.jpg".into())).await?,
        "RedirectMetadata" => stream.write_all(&to("http://169.254.169.254/latest/meta-data".into())).await?,
        "RedirectFile" => stream.write_all(&to("file:///etc/passwd".into())).await?,
        "RedirectNowhere" => stream.write_all(&head(302, "", 0)).await?,
        "RedirectThrice" => stream.write_all(&to(format!("/hop2/{salt}/{name}"))).await?,
        "hop2" => stream.write_all(&to(format!("/hop1/{salt}/{name}"))).await?,
        "hop1" => stream.write_all(&to(format!("/ok/{salt}/{name}"))).await?,
        _ => stream.write_all(&head(404, "", 0)).await?,
    }
    Ok(true)
}

/// Says nothing until the other side has had enough.
async fn wait_for_the_end(stream: &mut TcpStream) -> std::io::Result<bool> {
    let mut byte = [0];
    while stream.read(&mut byte).await? > 0 {}
    Ok(false)
}
