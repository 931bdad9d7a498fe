//! FAKEDNS: a name server that says what the test tells it to, and counts what it is asked.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

/// Where it listens.
pub const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9)), 53);

/// What it says to the questions for one name, one after the other; the last one for good.
#[derive(Clone, Debug)]
pub enum Answer {
    /// These addresses.
    Addresses(Vec<IpAddr>),
    /// Another name, and that one's addresses.
    Alias(&'static str, Vec<IpAddr>),
    /// The server failed.
    Failure,
    /// Nothing at all.
    Silence,
}

/// A running name server.
#[derive(Clone, Debug, Default)]
pub struct Dns(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    answers: BTreeMap<String, Vec<Answer>>,
    /// Name and type of each question.
    asked: Vec<(String, u16)>,
}

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

impl Dns {
    /// Starts it at [`ADDRESS`].
    pub async fn start() -> Self {
        let dns = Self::default();
        let socket = UdpSocket::bind(ADDRESS).await.unwrap();
        let served = dns.clone();
        tokio::spawn(async move {
            let mut packet = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
                if let Some(reply) = served.reply(&packet[..length]) {
                    socket.send_to(&reply, peer).await.unwrap();
                }
            }
        });
        dns
    }

    /// Sets what is said of `name`.
    pub fn say(&self, name: &str, answers: &[Answer]) {
        let mut state = self.0.lock().unwrap();
        state.answers.insert(name.to_owned(), answers.to_vec());
    }

    /// Sets the addresses of `name`.
    pub fn addresses(&self, name: &str, addresses: &[&str]) {
        let all = addresses.iter().map(|text| text.parse().unwrap()).collect();
        self.say(name, &[Answer::Addresses(all)]);
    }

    /// Questions for addresses of IPv4, by name.
    pub fn asked(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        let for_v4 = state.asked.iter().filter(|(_, kind)| *kind == A);
        for_v4.map(|(name, _)| name.clone()).collect()
    }

    fn reply(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = name(packet, 12);
        let kind = u16::from_be_bytes([packet[end], packet[end + 1]]);
        let mut state = self.0.lock().unwrap();
        state.asked.push((name.clone(), kind));
        let asked_v4 = state
            .asked
            .iter()
            .filter(|(asked, kind)| *asked == name && *kind == A)
            .count();
        let answers = state.answers.get(&name);
        let nth = answers.and_then(|all| all.get(asked_v4.max(1) - 1).or(all.last()));
        let mut records: Vec<Vec<u8>> = Vec::new();
        let mut code = 0;
        match nth {
            None => code = 3,
            Some(Answer::Failure) => code = 2,
            Some(Answer::Silence) => return None,
            Some(Answer::Addresses(all)) => records.extend(of(&[0xc0, 12], kind, all)),
            Some(Answer::Alias(alias, all)) => {
                let alias = encoded(alias);
                records.push(record(&[0xc0, 12], CNAME, &alias));
                records.extend(of(&alias, kind, all));
            }
        }
        let mut reply = packet[..2].to_vec();
        reply.extend([0x81, 0x80 | code, 0, 1]);
        reply.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
        reply.extend([0; 4]);
        reply.extend(&packet[12..end + 4]);
        reply.extend(records.concat());
        Some(reply)
    }
}

/// Records of those addresses that are of the type asked for.
fn of(owner: &[u8], kind: u16, addresses: &[IpAddr]) -> Vec<Vec<u8>> {
    let record = |address: &IpAddr| match address {
        IpAddr::V4(v4) if kind == A => Some(record(owner, A, &v4.octets())),
        IpAddr::V6(v6) if kind == AAAA => Some(record(owner, AAAA, &v6.octets())),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    };
    addresses.iter().filter_map(record).collect()
}

/// One record, which may not be kept.
fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    let kind = kind.to_be_bytes();
    [owner, &kind, &[0, 1], &[0; 4], &length.to_be_bytes(), data].concat()
}

fn encoded(name: &str) -> Vec<u8> {
    let label = |label: &str| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat();
    let mut all: Vec<u8> = name.split('.').flat_map(label).collect();
    all.push(0);
    all
}

/// The name at `start` of a question, in lower case, and where it ends.
fn name(packet: &[u8], start: usize) -> (String, usize) {
    let (mut labels, mut at) = (Vec::new(), start);
    while packet[at] != 0 {
        let length = usize::from(packet[at]);
        let label = &packet[at + 1..=at + length];
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length + 1;
    }
    (labels.join("."), at + 1)
}
