//! Connected streams for drivers that speak a protocol of their own, such as that of a database.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Connects to a port of this machine. Any other address is refused: nothing protects what the
/// driver says on the way.
pub async fn loopback(address: SocketAddr) -> std::io::Result<TcpStream> {
    if !address.ip().is_loopback() {
        let why = "an address beyond this machine";
        return Err(Error::new(ErrorKind::PermissionDenied, why));
    }
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn only_this_machine_is_reached() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(
            loopback(address).await.unwrap().peer_addr().unwrap(),
            address
        );
        let refused = loopback("192.0.2.1:5432".parse().unwrap())
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    }
}
