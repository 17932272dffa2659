//! An address at which nobody listens, and which no other test can get meanwhile.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// The address, as long as this exists.
pub(crate) struct DeadAddress {
    pub(crate) url: String,
    /// It has the port, and does not listen.
    _socket: Socket,
}

impl DeadAddress {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { url: format!("http://{address}"), _socket: socket }
    }
}
