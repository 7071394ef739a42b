//! Bytes that others chose do not decide an allocation: whatever a broken message claims, refusing it takes little memory.

use consort_decoders::Decoder;
use peak_alloc::PeakAlloc;
use std::fs;
use std::path::PathBuf;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What a refusal may take beyond the message itself.
const MOST_EXTRA_BYTES: usize = 64 * 1024;

/// The same where signatures are checked too: RSA, P-384 and chains take what they take, whatever the message claims.
const MOST_EXTRA_BYTES_JUDGED: usize = 128 * 1024;

/// The most of one valid message that is broken byte by byte; longer ones are broken at so many places, evenly.
const PLACES: usize = 150;

// One test alone in its process: the allocator counts for all threads.
#[test]
fn a_broken_message_is_refused_within_64_kib() {
    let mut refused = 0_u32;
    for decoder in consort_decoders::all() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(decoder.name);
        let valid = fs::read(folder.join("valid")).unwrap();
        // What is made once and kept (tables, a verifier) is not the message's.
        let _ = (decoder.decode)(&valid);
        // A text's parser may take a multiple of the text: it comes from the file of whoever runs the program.
        let buffers = ["wire-", "stored-event", "stored-state"];
        let of_buffers = buffers.iter().any(|name| decoder.name.starts_with(name));
        let repeated = repeated().filter(|_| of_buffers);
        for message in broken(&valid).chain(repeated) {
            let extra = extra_bytes(decoder, &message);
            if let Some(extra) = extra {
                refused += 1;
                let judged = ["evidence-judged", "tdx-quote"];
                let most = if judged.contains(&decoder.name) {
                    MOST_EXTRA_BYTES_JUDGED
                } else {
                    MOST_EXTRA_BYTES
                };
                assert!(
                    extra <= most,
                    "{} takes {extra} bytes to refuse {} bytes: {:02x?}",
                    decoder.name,
                    message.len(),
                    &message[..message.len().min(64)]
                );
            }
        }
    }
    assert!(refused > 10_000, "only {refused} messages were refused");
}

/// The peak of memory while the message is refused, beyond what was there; none when it is accepted.
fn extra_bytes(decoder: Decoder, message: &[u8]) -> Option<usize> {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let outcome = (decoder.decode)(message);
    let extra = HEAP.peak_usage().saturating_sub(before);
    outcome.err().map(|_| extra)
}

/// The message cut, and with lengths and counts at every place replaced by enormous ones.
fn broken(valid: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let step = valid.len().div_ceil(PLACES).max(1);
    let places = (0..valid.len()).step_by(step);
    // Big- and little-endian lengths, and the varint of 2^32 - 1 and 2^63 - 1.
    let claims: [&[u8]; 6] = [
        &[0xff; 8],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0x7f],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0],
    ];
    let cut = places.clone().map(|length| valid[..length].to_vec());
    let replaced = places.flat_map(move |place| {
        claims.into_iter().map(move |claim| {
            let mut message = valid.to_vec();
            let end = (place + claim.len()).min(message.len());
            message[place..end].copy_from_slice(&claim[..end - place]);
            message
        })
    });
    cut.chain(replaced)
}

/// The empty record of a field two bytes at a time, at the top of a message and inside of another: a decoder of protocol
/// buffers would make room for each.
fn repeated() -> impl Iterator<Item = Vec<u8>> {
    let record = |field: u8| field << 3 | 2;
    let list = move |field: u8| [record(field), 0].repeat(8_000);
    let inside = move |outer: u8, field: u8| {
        // 16 000 as a varint.
        [&[record(outer), 0x80, 0x7d][..], &list(field)].concat()
    };
    let nested = (1..16).flat_map(move |outer| (1..16).map(move |field| inside(outer, field)));
    (1..16).map(list).chain(nested)
}
