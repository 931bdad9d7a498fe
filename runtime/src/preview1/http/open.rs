//! Opening an exchange: reads what is asked, finds out whether there is a way and a place, sends.

use agentvm_policy::budget;
use agentvm_policy::egress::Code;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::BodyExt;
use wasmtime::{Caller, Linker};
use wasmtime_wasi::runtime::spawn;

use super::MODULE;
use super::exchange::Exchange;
use super::pipe::{Reader, Writer, pipe};
use crate::egress::{Deadlines, Held, headers};
use crate::host::Host;
use crate::preview1::descriptors::Descriptor;
use crate::preview1::errno::{Answer, Errno, code};
use crate::preview1::memory::{GuestMemory, split};

const MAX_METHOD_CHARS: usize = budget::METHOD_CHARS.usize();
/// The longest URL: the longest scheme, authority and target.
const MAX_URL_BYTES: usize =
    "https://".len() + budget::AUTHORITY_CHARS.usize() + budget::TARGET_BYTES.usize();
/// The most bytes of headers as text: each has a colon, a space and the end of its line besides.
const MAX_TEXT_BYTES: usize = budget::HEADER_BYTES.usize() + ": \n".len() * budget::HEADERS.usize();

/// The request has a body, which follows by `fd_write`.
const BODY: u32 = 1;
/// Calls on the exchange never wait: the flag of preview1 by this name.
const NONBLOCK: u32 = 1 << 2;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "open",
        |mut caller: Caller<'_, Host>,
         method: u32,
         method_len: u32,
         url: u32,
         url_len: u32,
         headers: u32,
         headers_len: u32,
         flags: u32,
         fd_at: u32| {
            let asked = Asked {
                method: (method, method_len),
                url: (url, url_len),
                headers: (headers, headers_len),
                flags,
            };
            code(open(&mut caller, &asked, fd_at))
        },
    )?;
    Ok(())
}

/// What is asked, as addresses and lengths.
struct Asked {
    method: (u32, u32),
    url: (u32, u32),
    headers: (u32, u32),
    flags: u32,
}

fn open(caller: &mut Caller<'_, Host>, asked: &Asked, fd_at: u32) -> Answer {
    let (mut memory, host) = split(caller)?;
    memory.write_u32(fd_at, 0)?; // before anything is sent
    let way = host.way_out().map_err(refusal)?;
    let (request, writer) = asked.read(&memory, host)?;
    host.descriptors.take_room()?;
    let held = Held::take(&host.shared.budget).map_err(|code| {
        host.descriptors.give_room_back();
        refusal(code)
    })?;
    let request = request.map(BodyExt::boxed_unsync);
    let answer = spawn(way.send(request, None, Deadlines::default()));
    let mut exchange = Exchange::new(writer, answer, held);
    exchange.nonblocking = asked.flags & NONBLOCK != 0;
    let descriptor = Descriptor::Exchange(Box::new(exchange));
    let fd = host.descriptors.open(descriptor)?;
    memory.write_u32(fd_at, fd)
}

/// The error of what is refused before there is an exchange that could tell its code.
fn refusal(code: Code) -> Errno {
    match code {
        Code::ConnectionLimit => Errno::NFILE,
        Code::RequestHeaderSize => Errno::TOOBIG,
        Code::RequestInvalid => Errno::INVAL,
        Code::Denied
        | Code::RequestBodySize
        | Code::Dns
        | Code::DnsTimeout
        | Code::AddressProhibited
        | Code::ConnectionRefused
        | Code::ConnectionTimeout
        | Code::TlsProtocol
        | Code::TlsCertificate
        | Code::Protocol
        | Code::ResponseTimeout
        | Code::ResponseHeaderSize
        | Code::ResponseBodySize
        | Code::ResponseContentCoding
        | Code::LoopDetected
        | Code::Internal => Errno::ACCES,
    }
}

impl Asked {
    fn read(
        &self,
        memory: &GuestMemory<'_>,
        host: &Host,
    ) -> Result<(Request<Reader>, Writer), Errno> {
        if self.flags & !(BODY | NONBLOCK) != 0 {
            return Err(Errno::INVAL);
        }
        let slice = |(at, len)| memory.slice(at, len);
        let (method, url, text) = (slice(self.method)?, slice(self.url)?, slice(self.headers)?);
        if method.len() > MAX_METHOD_CHARS || url.len() > MAX_URL_BYTES {
            return Err(Errno::INVAL);
        }
        if text.len() > MAX_TEXT_BYTES {
            return Err(Errno::TOOBIG);
        }
        host.charge_bytes(method.len() + url.len() + text.len());
        let headers = parse_headers(text).map_err(refusal)?;
        let length = content_length(&headers).map_err(refusal)?;
        let (writer, reader) = self.body(length)?;
        let mut request = Request::new(reader);
        *request.method_mut() = Method::from_bytes(method).or(Err(Errno::INVAL))?;
        *request.uri_mut() = parse_url(url)?;
        *request.headers_mut() = headers;
        Ok((request, writer))
    }

    /// The two ends of the request's body, which has ended already where there is none.
    fn body(&self, length: Option<u64>) -> Result<(Writer, Reader), Errno> {
        let (writer, reader) = pipe(length);
        if self.flags & BODY == 0 && !writer.finish() {
            return Err(Errno::INVAL); // a length, and nothing that could have it
        }
        Ok((writer, reader))
    }
}

/// A URL with one of the two schemes and an authority; whether it has a canonical form is for others to say.
fn parse_url(url: &[u8]) -> Result<Uri, Errno> {
    if url.contains(&b'#') {
        return Err(Errno::INVAL); // which would be dropped in silence
    }
    let url = Uri::try_from(url).or(Err(Errno::INVAL))?;
    let known = [Some("http"), Some("https")].contains(&url.scheme_str());
    let whole = known && url.authority().is_some();
    whole.then_some(url).ok_or(Errno::INVAL)
}

/// Headers as text: `name: value` and a line feed, each.
fn parse_headers(text: &[u8]) -> Result<HeaderMap, Code> {
    let mut headers = HeaderMap::new();
    let Some(lines) = text.strip_suffix(b"\n") else {
        return text
            .is_empty()
            .then_some(headers)
            .ok_or(Code::RequestInvalid);
    };
    for line in lines.split(|byte| *byte == b'\n') {
        if headers.len() >= headers::MAX_HEADERS {
            return Err(Code::RequestHeaderSize);
        }
        let (name, value) = parse_header(line).ok_or(Code::RequestInvalid)?;
        headers
            .try_append(name, value)
            .or(Err(Code::RequestHeaderSize))?;
    }
    headers::fit(&headers)
        .then_some(headers)
        .ok_or(Code::RequestHeaderSize)
}

fn parse_header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    if line.contains(&b'\r') {
        return None; // which is part of no value, at the end of a line either
    }
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, rest) = (line.get(..colon)?, line.get(colon + 1..)?);
    let name = HeaderName::from_bytes(name).ok()?;
    let value = HeaderValue::from_bytes(rest.trim_ascii()).ok()?;
    (!headers::is_forbidden(&name)).then_some((name, value))
}

/// The length that the headers say, once and in digits.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Code> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (Some(length), None) = (lengths.next(), lengths.next()) else {
        let none = !headers.contains_key(CONTENT_LENGTH);
        return none.then_some(None).ok_or(Code::RequestInvalid);
    };
    let digits = length.as_bytes().iter().all(u8::is_ascii_digit);
    let length = length.to_str().ok().filter(|_| digits);
    let length = length.and_then(|length| length.parse().ok());
    length.map(Some).ok_or(Code::RequestInvalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_lines_of_name_and_value() {
        let headers = parse_headers(b"accept: text/plain\nX-Mine:1\naccept:\t*/* \n").unwrap();
        let all: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        assert_eq!(
            all,
            [
                ("accept", &b"text/plain"[..]),
                ("accept", b"*/*"),
                ("x-mine", b"1")
            ]
        );
        assert!(parse_headers(b"").unwrap().is_empty());
    }

    #[test]
    fn f11_whatever_is_no_line_of_a_header_is_refused() {
        for text in [
            &b"accept"[..],
            b"accept: 1",
            b"accept\n",
            b"\n",
            b": 1\n",
            b"a b: 1\n",
            b"a: 1\n\nb: 2\n",
            b"a: 1\r\n b: 2\n",
            b"a: x\0y\n",
            b"a: x\ry\n",
            b"a\xc3\xa4: 1\n",
            b"host: evil.example\n",
            b"Transfer-Encoding: chunked\n",
            b"agentvm-vm: 1\n",
        ] {
            assert_eq!(
                parse_headers(text).map(drop),
                Err(Code::RequestInvalid),
                "{}",
                text.escape_ascii()
            );
        }
    }

    #[test]
    fn too_many_or_too_long_headers_are_told_from_wrong_ones() {
        let many = "a: 1\n".repeat(headers::MAX_HEADERS + 1);
        let long = format!("a: {}\n", "x".repeat(headers::MAX_HEADER_BYTES));
        for text in [many, long] {
            let parsed = parse_headers(text.as_bytes()).map(drop);
            assert_eq!(parsed, Err(Code::RequestHeaderSize));
        }
        let most = "a: 1\n".repeat(headers::MAX_HEADERS);
        assert!(parse_headers(most.as_bytes()).is_ok());
    }

    #[test]
    fn f18_a_length_is_told_once_and_in_digits() {
        for (text, expected) in [
            ("", Ok(None)),
            ("content-length: 12\n", Ok(Some(12))),
            ("content-length: +1\n", Err(Code::RequestInvalid)),
            ("content-length: \n", Err(Code::RequestInvalid)),
            ("content-length: 1, 1\n", Err(Code::RequestInvalid)),
            (
                "content-length: 1\ncontent-length: 1\n",
                Err(Code::RequestInvalid),
            ),
            (
                "content-length: 99999999999999999999\n",
                Err(Code::RequestInvalid),
            ),
        ] {
            let headers = parse_headers(text.as_bytes()).unwrap();
            assert_eq!(content_length(&headers), expected, "{text}");
        }
    }

    #[test]
    fn f09_a_url_is_whole_and_has_no_fragment() {
        for url in [
            "",
            "/path",
            "example.com",
            "http://",
            "ftp://a.example/",
            "http://a.example#@b.example",
            "http://a.example b/",
            "http://a.example/\u{7f}",
        ] {
            assert_eq!(parse_url(url.as_bytes()), Err(Errno::INVAL), "{url}");
        }
        assert!(parse_url(b"https://api.example.com/v1?x=1").is_ok());
    }
}
