//! What arbitrary bytes ask for.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// A request as a guest makes it.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// Its URL.
    pub url: String,
    /// Those of its headers that can be headers.
    pub headers: HeaderMap,
}

/// What parts are separated by: a byte that no text of UTF-8 has.
const BETWEEN: u8 = 0xff;

impl Asked {
    /// Reads the method, the URL, and names and values of headers, one after the other.
    pub fn read(bytes: &[u8]) -> Self {
        let mut parts = bytes.split(|byte| *byte == BETWEEN);
        let text =
            |part: Option<&[u8]>| String::from_utf8_lossy(part.unwrap_or_default()).into_owned();
        let (method, url) = (text(parts.next()), text(parts.next()));
        let mut headers = HeaderMap::new();
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            let (name, value) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value));
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        Self {
            method,
            url,
            headers,
        }
    }
}
