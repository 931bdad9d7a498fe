//! A component's stdin, stdout and stderr as streams over what every VM has.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::budget::Budget;
use crate::charge::fuel_for;
use crate::handle::Shared;
use crate::stdio::{MAX_WRITE_BYTES, Output};

/// A stdin that is open and silent until it is closed.
#[derive(Clone)]
pub(super) struct In(pub(super) Arc<Shared>);

impl IsTerminal for In {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for In {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(tokio::io::empty()) // WASI 0.3 only, which is not linked
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

impl InputStream for In {
    fn read(&mut self, _size: usize) -> StreamResult<Bytes> {
        if self.0.stdin.is_open() {
            Err(StreamError::Closed)
        } else {
            Ok(Bytes::new())
        }
    }
}

#[async_trait]
impl Pollable for In {
    async fn ready(&mut self) {
        self.0.stdin.opened().await;
    }
}

/// One of the two outputs.
#[derive(Clone)]
pub(super) struct Out {
    pub(super) to: Arc<dyn Output>,
    pub(super) budget: Arc<Budget>,
}

impl IsTerminal for Out {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Out {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink()) // WASI 0.3 only, which is not linked
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Out {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > MAX_WRITE_BYTES {
            return Err(StreamError::trap("wrote more than check-write allows"));
        }
        self.budget.fuel.owe(fuel_for(bytes.len()));
        self.to.write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE_BYTES)
    }
}

#[async_trait]
impl Pollable for Out {
    async fn ready(&mut self) {}
}
