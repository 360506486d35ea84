//! Protobuf messages for long-lived streams of which there are thousands: buffers begin small.

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec as TonicCodec, EncodeBuf, Encoder as TonicEncoder};
use tonic_prost::ProstDecoder;

/// What a stream reserves before anything has come or gone, each way. By default it would be 8 KiB, for what is mostly an acknowledgement
/// of some hundred bytes; what is larger grows the buffer.
const BUFFER: usize = 512;

/// When encoded responses are handed on without waiting for more.
const YIELD: usize = 32 * 1024;

/// Responses of type `R`, requests of type `Q`.
#[derive(Debug)]
pub(super) struct Codec<R, Q>(PhantomData<fn(Q) -> R>);

impl<R, Q> Codec<R, Q> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER, YIELD)
}

impl<R: Message + 'static, Q: Message + Default + 'static> TonicCodec for Codec<R, Q> {
    type Encode = R;
    type Decode = Q;
    type Encoder = Encoder<R>;
    type Decoder = ProstDecoder<Q>;

    fn encoder(&mut self) -> Encoder<R> {
        Encoder(PhantomData)
    }

    fn decoder(&mut self) -> ProstDecoder<Q> {
        ProstDecoder::new(buffers())
    }
}

/// Reserves exactly what a response takes: growing by doubling would leave a stream with twice its largest response.
#[derive(Debug)]
pub(super) struct Encoder<R>(PhantomData<fn(R)>);

impl<R: Message + 'static> TonicEncoder for Encoder<R> {
    type Item = R;
    type Error = Status;

    fn encode(&mut self, item: R, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(item.encoded_len());
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}
