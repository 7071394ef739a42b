//! The schema's bounds, held before a message is decoded: a decoder of protocol buffers makes room for whatever a sender
//! repeats, two bytes at a time, and so would let bytes from outside decide an allocation many times their size.

use std::marker::PhantomData;

use prost::bytes::Buf;
use prost::{Message, Name};
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic::{Code, Status};
use tonic_prost::ProstEncoder;

use crate::errors;

/// What one message of the schema may hold; the table is made from the `.proto` files.
struct Shape {
    name: &'static str,
    fields: &'static [Field],
}

struct Field {
    number: u64,
    name: &'static str,
    kind: Kind,
    /// 1 for a field that is not repeated.
    most_items: usize,
}

enum Kind {
    /// A number, and the bytes that one takes in a packed list, 0 for a varint.
    Number { packed_bytes: usize },
    /// Bytes or text.
    Bytes { most_bytes: usize },
    /// A message, by its place in the table.
    Message { shape: usize },
}

/// Most fields of one message; the build fails for a schema with more.
const MOST_FIELDS: usize = 32;

include!(concat!(env!("OUT_DIR"), "/shapes.rs"));

/// Why bytes are not a message that the schema allows: the fault of whoever sent them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BoundsError {
    /// The bytes are no encoding of the message.
    #[error("the bytes are not a well-formed message")]
    Malformed,
    /// A field stands more often than it may.
    #[error("{message}.{field} stands more than {most} times")]
    TooManyItems {
        /// The message's full name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
        /// Its bound; 1 where it is not repeated.
        most: usize,
    },
    /// Bytes or text are longer than they may be.
    #[error("{message}.{field} is longer than {most} bytes")]
    TooManyBytes {
        /// The message's full name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
        /// Its bound.
        most: usize,
    },
}

impl BoundsError {
    /// Stable code for gRPC details, metrics and audit.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "message_malformed",
            Self::TooManyItems { .. } => "message_too_many_items",
            Self::TooManyBytes { .. } => "message_too_many_bytes",
        }
    }
}

/// Decodes a message whose bytes keep the bounds of the schema.
///
/// # Errors
/// [`BoundsError`]; nothing was allocated for what exceeds a bound.
///
/// # Panics
/// For a message of another schema.
pub fn decode<M: Message + Name + Default>(bytes: &[u8]) -> Result<M, BoundsError> {
    let name = M::full_name();
    let place = SHAPES
        .binary_search_by(|shape| shape.name.cmp(&name))
        .expect("the table holds every message of the schema");
    check(&SHAPES[place], bytes)?;
    M::decode(bytes).map_err(|_| BoundsError::Malformed)
}

/// Walks the encoding (protobuf.dev, "Encoding") without keeping anything but a count for each field.
fn check(shape: &'static Shape, mut bytes: &[u8]) -> Result<(), BoundsError> {
    let mut items = [0_usize; MOST_FIELDS];
    while !bytes.is_empty() {
        let (number, value) = record(&mut bytes)?;
        let Some(place) = shape.fields.iter().position(|field| field.number == number) else {
            // An unknown field is skipped by the decoder, which keeps nothing of it.
            continue;
        };
        let field = &shape.fields[place];
        let count = match (&field.kind, value) {
            (Kind::Number { .. }, Value::Number) => 1,
            (Kind::Number { packed_bytes: 0 }, Value::Delimited(list)) => {
                // Each varint ends with the one byte of it that has no continuation bit.
                list.iter().filter(|byte| **byte < 0x80).count()
            }
            (Kind::Number { packed_bytes }, Value::Delimited(list)) => list.len() / packed_bytes,
            (Kind::Bytes { most_bytes }, Value::Delimited(payload)) => {
                if payload.len() > *most_bytes {
                    return Err(BoundsError::TooManyBytes {
                        message: shape.name,
                        field: field.name,
                        most: *most_bytes,
                    });
                }
                1
            }
            (Kind::Message { shape }, Value::Delimited(payload)) => {
                check(&SHAPES[*shape], payload)?;
                1
            }
            (Kind::Bytes { .. } | Kind::Message { .. }, Value::Number) => {
                return Err(BoundsError::Malformed);
            }
        };
        items[place] = items[place].saturating_add(count);
        if items[place] > field.most_items {
            return Err(BoundsError::TooManyItems {
                message: shape.name,
                field: field.name,
                most: field.most_items,
            });
        }
    }
    Ok(())
}

enum Value<'a> {
    Number,
    Delimited(&'a [u8]),
}

/// One record: the number of its field, and what it carries. Groups, which the schema has none of, are malformed.
fn record<'a>(bytes: &mut &'a [u8]) -> Result<(u64, Value<'a>), BoundsError> {
    let key = varint(bytes)?;
    let value = match key & 7 {
        0 => {
            varint(bytes)?;
            Value::Number
        }
        1 => {
            take(bytes, 8)?;
            Value::Number
        }
        2 => {
            let length = usize::try_from(varint(bytes)?).map_err(|_| BoundsError::Malformed)?;
            Value::Delimited(take(bytes, length)?)
        }
        5 => {
            take(bytes, 4)?;
            Value::Number
        }
        _ => return Err(BoundsError::Malformed),
    };
    Ok((key >> 3, value))
}

fn varint(bytes: &mut &[u8]) -> Result<u64, BoundsError> {
    prost::encoding::decode_varint(bytes).map_err(|_| BoundsError::Malformed)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], BoundsError> {
    let (taken, rest) = bytes
        .split_at_checked(length)
        .ok_or(BoundsError::Malformed)?;
    *bytes = rest;
    Ok(taken)
}

/// The codec of all services: what is received keeps the bounds, or is refused before it is decoded.
#[derive(Debug, Clone)]
pub struct BoundedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

/// The receiving half of [`BoundedCodec`].
#[derive(Debug, Clone)]
pub struct BoundedDecoder<U>(PhantomData<U>);

impl<U: Message + Name + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        decode(&bytes)
            .map(Some)
            .map_err(|error| errors::status(Code::InvalidArgument, error.code(), error))
    }
}
