//! A network that cuts every connection again and again, between one client and one server.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Result;

/// A proxy that cuts its connections at a beat, until it is told to be kind.
#[derive(Debug)]
pub struct Flaky {
    /// Where it listens.
    pub address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    kind: Arc<AtomicBool>,
}

type Connections = Arc<Mutex<Vec<TcpStream>>>;

impl Flaky {
    /// Passes connections on to `server`, and cuts all of them every `beat`.
    pub fn start(server: SocketAddr, beat: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let flaky = Self {
            address: listener.local_addr()?,
            cuts: Arc::default(),
            kind: Arc::default(),
        };
        let open = Connections::default();
        let opened = Arc::clone(&open);
        // Both threads end with the test binary.
        thread::spawn(move || accept(&listener, server, &opened));
        let (cuts, kind) = (Arc::clone(&flaky.cuts), Arc::clone(&flaky.kind));
        thread::spawn(move || {
            while !kind.load(Ordering::Relaxed) {
                thread::sleep(beat);
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                for side in open.drain(..) {
                    // It may have been closed by then.
                    let _ = side.shutdown(Shutdown::Both);
                    cuts.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(flaky)
    }

    /// How many connections were cut, both sides counted.
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Flaky {
    fn drop(&mut self) {
        self.kind.store(true, Ordering::Relaxed);
    }
}

fn accept(listener: &TcpListener, server: SocketAddr, open: &Connections) {
    for client in listener.incoming().flatten() {
        if let Ok(server) = TcpStream::connect(server)
            && let (Ok(to_server), Ok(to_client)) = (server.try_clone(), client.try_clone())
            && let (Ok(a), Ok(b)) = (server.try_clone(), client.try_clone())
        {
            open.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend([a, b]);
            thread::spawn(move || pass(client, to_server));
            thread::spawn(move || pass(server, to_client));
        }
    }
}

/// Copies until one side ends, and then ends the other.
fn pass(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            return to.shutdown(Shutdown::Both);
        }
        to.write_all(bytes)?;
    }
}
