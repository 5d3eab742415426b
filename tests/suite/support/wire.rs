//! A wire to another server that can be cut, and that takes its time.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// Hands connections on, as long as it is not cut.
#[derive(Debug)]
pub(crate) struct Wire {
    address: SocketAddr,
    /// Bound and never listening: so the port is nobody else's while the wire is cut.
    _place: TcpSocket,
    target: String,
    delay: Duration,
    task: JoinHandle<()>,
}

impl Wire {
    /// A wire to `target` (`host:port`), on which what is sent to it arrives after `delay`.
    pub(crate) fn to(target: &str, delay: Duration) -> Self {
        let place = bound(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = place.local_addr().expect("an address");
        let task = tokio::spawn(carry(listening(address), target.to_owned(), delay));
        Self { address, _place: place, target: target.to_owned(), delay, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts it: connections break, new ones are refused.
    pub(crate) async fn cut(&mut self) {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    /// Mends it, at the same address.
    pub(crate) fn mend(&mut self) {
        self.task = tokio::spawn(carry(listening(self.address), self.target.clone(), self.delay));
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A socket at an address that others of ours may have, too.
fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an address is used again");
    socket.set_reuseport(true).expect("a port is shared");
    socket.bind(address).expect("a local port");
    socket
}

fn listening(address: SocketAddr) -> TcpListener {
    bound(address).listen(1024).expect("it listens")
}

async fn carry(listener: TcpListener, target: String, delay: Duration) {
    // Ends with the wire, and its connections with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(hand_on(stream, target.clone(), delay));
        while connections.try_join_next().is_some() {}
    }
}

async fn hand_on(near: TcpStream, target: String, delay: Duration) {
    let Ok(far) = TcpStream::connect(&target).await else { return };
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::join!(copy(near_read, far_write, delay), copy(far_read, near_write, Duration::ZERO));
}

async fn copy(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, delay: Duration) {
    let mut chunk = vec![0; 65_536];
    let mut fresh = true;
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        // Once per burst: what follows at once is under way already.
        if fresh {
            tokio::time::sleep(delay).await;
        }
        fresh = read < chunk.len();
        if to.write_all(&chunk[..read]).await.is_err() {
            return;
        }
    }
    if to.shutdown().await.is_err() {
        // The other side was faster.
    }
}
