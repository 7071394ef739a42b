//! Frames of the exchange: a 4-byte big-endian length and that many bytes, each written at once.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::error::ChannelError;
use crate::limits::MAX_FRAME_BYTES;

/// Writes a frame with one write: a header of its own would wait for the peer's delayed acknowledgement.
pub(super) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    payload: &[u8],
) -> Result<(), ChannelError> {
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|_| payload.len() <= MAX_FRAME_BYTES);
    let length = length.ok_or(ChannelError::FrameTooLarge)?;
    stream
        .write_all(&[&length.to_be_bytes(), payload].concat())
        .await?;
    Ok(stream.flush().await?)
}

/// Reads a frame of at most this many bytes; nothing is allocated for one that is larger.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    max_bytes: usize,
) -> Result<Vec<u8>, ChannelError> {
    let length =
        usize::try_from(stream.read_u32().await?).map_err(|_| ChannelError::FrameTooLarge)?;
    if length > max_bytes.min(MAX_FRAME_BYTES) {
        return Err(ChannelError::FrameTooLarge);
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    Ok(payload)
}
