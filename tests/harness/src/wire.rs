//! A bare connection, for bytes that no HTTP client would send.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// A receive buffer that is soon full.
const SMALL: u32 = 4_096;

/// One TCP connection.
#[derive(Debug)]
pub struct Wire(pub TcpStream);

impl Wire {
    pub async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("a connection"))
    }

    /// One whose client takes hardly anything in.
    pub async fn open_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(SMALL).expect("a small buffer");
        Self(socket.connect(address).await.expect("a connection"))
    }

    /// False when the other side has closed.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Exactly so many bytes, or fewer if the other side closes first.
    pub async fn take(&mut self, wanted: usize) -> Vec<u8> {
        let mut taken = vec![0; wanted];
        let mut have = 0;
        while have < wanted {
            match timeout(PATIENCE, self.0.read(&mut taken[have..])).await.expect("bytes in time") {
                Ok(0) | Err(_) => break,
                Ok(read) => have += read,
            }
        }
        taken.truncate(have);
        taken
    }

    /// Everything until the other side closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut part = [0; 16 << 10];
        loop {
            match timeout(PATIENCE, self.0.read(&mut part)).await.expect("closed in time") {
                Ok(0) | Err(_) => return all,
                Ok(read) => all.extend_from_slice(&part[..read]),
            }
        }
    }

    /// One HTTP/1.1 response: its status, and all of it as text.
    pub async fn answer(&mut self) -> (u16, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = self.take(1).await;
            if byte.is_empty() {
                return (0, String::from_utf8_lossy(&head).into_owned());
            }
            head.extend(byte);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let length = text.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let body = self.take(length.unwrap_or(0)).await;
        (status, text + &String::from_utf8_lossy(&body))
    }

    /// Sends no more.
    pub async fn finish(&mut self) {
        let _ = self.0.shutdown().await;
    }
}
