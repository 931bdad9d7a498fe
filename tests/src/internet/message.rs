//! Where requests begin and end in what reaches a host: a parser of our own, so that what the
//! gateway's library writes is read by another.

/// Reads a connection as it comes.
#[derive(Debug, Default)]
pub struct Reader {
    rest: Vec<u8>,
    state: State,
    messages: Vec<Message>,
}

/// One request, as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The first line and the headers, without the empty line.
    pub head: String,
    /// As far as it came, without its framing.
    pub body: Vec<u8>,
    /// Whether it came to its end.
    pub is_whole: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    /// So many bytes are left of a body, or of a chunk and the end of its line.
    Body(usize),
    Size,
    Chunk(usize),
    Trailers,
    /// No message goes on like this.
    Broken,
}

impl Message {
    /// The first line.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The values of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1);
        fields
            .filter_map(|line| line.split_once(':'))
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }
}

impl Reader {
    /// What came so far, the last one perhaps in part.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Takes what came; how many heads it completed.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        self.rest.extend(bytes);
        let before = self.messages.len();
        while self.step() {}
        self.messages.len() - before
    }

    fn step(&mut self) -> bool {
        match self.state {
            State::Broken => false,
            State::Head => self.head(),
            State::Body(left) => self.body(left),
            State::Size => self.size(),
            State::Chunk(left) => self.chunk(left),
            State::Trailers => match self.line(b"\r\n") {
                Some(line) => {
                    if line.is_empty() {
                        self.end();
                    }
                    true
                }
                None => false,
            },
        }
    }

    fn line(&mut self, end: &[u8]) -> Option<String> {
        let at = self.rest.windows(end.len()).position(|part| part == end)?;
        let line = String::from_utf8_lossy(&self.rest[..at]).into_owned();
        self.rest.drain(..at + end.len());
        Some(line)
    }

    fn head(&mut self) -> bool {
        let Some(head) = self.line(b"\r\n\r\n") else {
            return false;
        };
        let message = Message {
            head,
            ..Message::default()
        };
        let lengths = message.header("content-length");
        let codings = message.header("transfer-encoding");
        self.state = match (lengths.as_slice(), codings.as_slice()) {
            ([], []) => State::Body(0),
            ([length], []) => length.parse().map_or(State::Broken, State::Body),
            ([], ["chunked"]) => State::Size,
            _ => State::Broken,
        };
        self.messages.push(message);
        true
    }

    fn body(&mut self, left: usize) -> bool {
        if left == 0 {
            self.end();
            return true;
        }
        let left = left - self.take(left);
        self.state = State::Body(left);
        left == 0
    }

    fn size(&mut self) -> bool {
        let Some(line) = self.line(b"\r\n") else {
            return false;
        };
        self.state = match usize::from_str_radix(&line, 16) {
            Ok(0) => State::Trailers,
            Ok(size) => State::Chunk(size),
            Err(_) => State::Broken,
        };
        true
    }

    fn chunk(&mut self, left: usize) -> bool {
        if left > 0 {
            let left = left - self.take(left);
            self.state = State::Chunk(left);
            return left == 0;
        }
        let Some(line) = self.line(b"\r\n") else {
            return false;
        };
        self.state = if line.is_empty() {
            State::Size
        } else {
            State::Broken
        };
        true
    }

    fn take(&mut self, most: usize) -> usize {
        let length = most.min(self.rest.len());
        let part: Vec<u8> = self.rest.drain(..length).collect();
        if let Some(message) = self.messages.last_mut() {
            message.body.extend(part);
        }
        length
    }

    fn end(&mut self) {
        if let Some(message) = self.messages.last_mut() {
            message.is_whole = true;
        }
        self.state = State::Head;
    }
}

#[test]
fn requests_are_told_apart_however_they_are_cut() {
    let text = b"POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nGET /c HTTP/1.1\r\n\r\n";
    for size in [1, 7, text.len()] {
        let mut reader = Reader::default();
        let heads: usize = text.chunks(size).map(|part| reader.push(part)).sum();
        let all: Vec<_> = reader
            .messages()
            .iter()
            .map(|message| (message.line(), message.body.as_slice(), message.is_whole))
            .collect();
        assert_eq!(heads, 3);
        assert_eq!(
            all,
            [
                ("POST /a HTTP/1.1", &b"abc"[..], true),
                ("POST /b HTTP/1.1", b"ab", true),
                ("GET /c HTTP/1.1", b"", true)
            ]
        );
    }
}
