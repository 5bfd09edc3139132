//! Listening on this machine, with room for all that connect at once.

use std::{io, net::Ipv4Addr};

use tokio::net::{TcpListener, TcpSocket};

/// How many connections wait to be accepted. A managed process opens 1,600 at once, and so may the
/// viewers; beyond what waits, the kernel drops connections whose client takes them for open.
const BACKLOG: u32 = 4096;

/// Listens on this port; 0 takes a free one.
pub(crate) fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    socket.listen(BACKLOG)
}
