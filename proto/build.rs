//! Compiles the protocol buffers in Rust, so that no protoc is needed.

use std::path::PathBuf;

const FILES: [&str; 7] = [
    "consort/limits/v1/limits.proto",
    "consort/job/v1/job.proto",
    "consort/consent/v1/consent.proto",
    "consort/round/v1/round.proto",
    "consort/model/v1/model.proto",
    "consort/events/v1/events.proto",
    "consort/uplink/v1/uplink.proto",
];

/// Fields that carry vectors and models: sliced out of what was received, and sent from where they lie, instead of copied.
const NOT_COPIED: [&str; 3] = [
    ".consort.round.v1.MaskedChunk.data",
    ".consort.round.v1.FetchModelResponse.data",
    ".consort.model.v1.DownloadModelResponse.data",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let mut compiler = protox::Compiler::new(["."])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(FILES)?;
    // Encoded by protox, not by prost, so that the bounds (custom options) stay in it for reflection and for the tests.
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(
        out.join("descriptors.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    let builder = tonic_prost_build::configure().emit_rerun_if_changed(false);
    NOT_COPIED
        .iter()
        .fold(builder, |builder, field| builder.bytes(field))
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
