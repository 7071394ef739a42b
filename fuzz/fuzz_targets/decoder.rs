//! The fuzzer of one decoder, which `CONSORT_DECODER` names. One program for all, since each is a table entry: linking dozens
//! of programs that differ in a name would take longer than fuzzing them.
#![no_main]

use consort_decoders::Decoder;
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

static DECODER: OnceLock<Decoder> = OnceLock::new();

fn chosen() -> Decoder {
    let name = std::env::var("CONSORT_DECODER").unwrap_or_default();
    let known: Vec<&str> = consort_decoders::all().map(|decoder| decoder.name).collect();
    consort_decoders::named(&name)
        .unwrap_or_else(|| panic!("CONSORT_DECODER names one of: {}", known.join(" ")))
}

fuzz_target!(|bytes: &[u8]| {
    // Refused or accepted are both fine; a panic, a hang or running out of memory is not.
    let decoder = DECODER.get_or_init(chosen);
    let _outcome = (decoder.decode)(bytes);
});
