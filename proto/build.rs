//! Compiles the protocol buffers in Rust, so that no protoc is needed, and makes the table of their bounds.

use protox::prost_reflect::prost_types::FileDescriptorSet;
use protox::prost_reflect::prost_types::field_descriptor_proto::Type;
use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use std::fmt::Write;
use std::path::PathBuf;

const FILES: [&str; 11] = [
    "consort/limits/v1/limits.proto",
    "consort/job/v1/job.proto",
    "consort/consent/v1/consent.proto",
    "consort/round/v1/round.proto",
    "consort/model/v1/model.proto",
    "consort/events/v1/events.proto",
    "consort/uplink/v1/uplink.proto",
    "consort/keys/v1/keys.proto",
    "consort/keys/v1/state.proto",
    "consort/audit/v1/audit.proto",
    "consort/manifest/v1/manifest.proto",
];

/// As in src/bounds.rs.
const MOST_FIELDS: usize = 32;

/// The check of a message calls itself for the messages in it; a schema this deep is a mistake, and a recursive one never ends.
const MOST_DEPTH: usize = 16;

/// Fields that carry vectors and models: sliced out of what was received, and sent from where they lie, instead of copied.
const NOT_COPIED: [&str; 3] = [
    ".consort.round.v1.MaskedChunk.data",
    ".consort.round.v1.FetchModelResponse.data",
    ".consort.model.v1.DownloadModelResponse.data",
];

/// Items of long lists that the generated code keeps in their encoding, so that one encoding is shared by every message that has
/// it: on the wire a message in a field is its bytes behind their length, like bytes. Bounds and reflection know them as messages.
const KEPT_ENCODED: [(&str, &str); 5] = [
    ("KeyList", "adverts"),
    ("KeyList", "heads"),
    ("SharesDelivery", "statements"),
    ("SharesDelivery", "others"),
    ("Confirmations", "confirmations"),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(FILES)?;
    // Encoded by protox, not by prost, so that the bounds (custom options) stay in it for reflection and for the tests.
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let descriptors = compiler.encode_file_descriptor_set();
    let pool = DescriptorPool::decode(descriptors.as_slice())?;
    std::fs::write(out.join("shapes.rs"), shapes(&pool)?)?;
    std::fs::write(out.join("descriptors.bin"), descriptors)?;
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    let builder = tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        .codec_path("crate::bounds::BoundedCodec");
    let mut files = compiler.file_descriptor_set();
    for (message, field) in KEPT_ENCODED {
        keep_encoded(&mut files, message, field)?;
    }
    let kept = KEPT_ENCODED.map(|(message, field)| format!(".consort.round.v1.{message}.{field}"));
    NOT_COPIED
        .iter()
        .copied()
        .chain(kept.iter().map(String::as_str))
        .fold(builder, |builder, field| builder.bytes(field))
        .compile_fds_with_config(files, config)?;
    Ok(())
}

/// Has the generated code take a field of messages as one of bytes.
fn keep_encoded(
    files: &mut FileDescriptorSet,
    message: &str,
    field: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let messages = (files.file.iter_mut())
        .filter(|file| file.package() == "consort.round.v1")
        .flat_map(|file| file.message_type.iter_mut());
    let field = messages
        .filter(|found| found.name() == message)
        .flat_map(|found| found.field.iter_mut())
        .find(|found| found.name() == field && found.r#type() == Type::Message)
        .ok_or_else(|| format!("{message} has no messages in {field}"))?;
    field.set_type(Type::Bytes);
    field.type_name = None;
    Ok(())
}

/// The messages in order of their names, with what each may hold.
fn shapes(pool: &DescriptorPool) -> Result<String, Box<dyn std::error::Error>> {
    let mut messages: Vec<MessageDescriptor> = pool
        .all_messages()
        .filter(|message| message.full_name().starts_with("consort."))
        .collect();
    messages.sort_by(|a, b| a.full_name().cmp(b.full_name()));
    let mut table = String::from("static SHAPES: &[Shape] = &[\n");
    for message in &messages {
        let name = message.full_name();
        if message.fields().len() > MOST_FIELDS || depth(message) > MOST_DEPTH {
            return Err(format!("{name} has too many fields or is nested too deep").into());
        }
        writeln!(table, "    Shape {{ name: {name:?}, fields: &[")?;
        for field in message.fields() {
            let kind = kind(pool, &messages, &field)?;
            let most_items = if field.is_list() || field.is_map() {
                bound(pool, &field, "max_items")?
            } else {
                1
            };
            writeln!(
                table,
                "        Field {{ number: {}, name: {:?}, kind: {kind}, most_items: {most_items} }},",
                field.number(),
                field.name(),
            )?;
        }
        writeln!(table, "    ] }},")?;
    }
    table.push_str("];\n");
    Ok(table)
}

fn kind(
    pool: &DescriptorPool,
    messages: &[MessageDescriptor],
    field: &FieldDescriptor,
) -> Result<String, Box<dyn std::error::Error>> {
    Ok(match field.kind() {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => number(8),
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => number(4),
        Kind::Int32
        | Kind::Int64
        | Kind::Uint32
        | Kind::Uint64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Bool
        | Kind::Enum(_) => number(0),
        Kind::String | Kind::Bytes => {
            // An entry of a map has no options of its own: the field of the map bounds how many there are.
            let most = if field.parent_message().is_map_entry() {
                1024
            } else {
                bound(pool, field, "max_bytes")?
            };
            format!("Kind::Bytes {{ most_bytes: {most} }}")
        }
        Kind::Message(inner) => {
            let shape = messages
                .iter()
                .position(|message| *message == inner)
                .ok_or_else(|| format!("{} is of another schema", field.full_name()))?;
            format!("Kind::Message {{ shape: {shape} }}")
        }
    })
}

fn number(packed_bytes: usize) -> String {
    format!("Kind::Number {{ packed_bytes: {packed_bytes} }}")
}

fn bound(
    pool: &DescriptorPool,
    field: &FieldDescriptor,
    name: &str,
) -> Result<u32, Box<dyn std::error::Error>> {
    let extension = pool
        .get_extension_by_name(&format!("consort.limits.v1.{name}"))
        .ok_or("the schema has no bounds")?;
    field
        .options()
        .get_extension(&extension)
        .as_u32()
        .filter(|bound| *bound > 0)
        .ok_or_else(|| format!("{} lacks {name}", field.full_name()).into())
}

fn depth(message: &MessageDescriptor) -> usize {
    fn below(message: &MessageDescriptor, level: usize) -> usize {
        if level > MOST_DEPTH {
            return level;
        }
        let inner = message.fields().filter_map(|field| {
            let inner = field.kind().as_message()?.clone();
            Some(below(&inner, level + 1))
        });
        inner.max().unwrap_or(level)
    }
    below(message, 1)
}
