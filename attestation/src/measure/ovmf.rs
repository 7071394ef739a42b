//! What a firmware file says of itself (OvmfPkg/ResetVector): a table at its end leads to the SEV metadata, which name the pages
//! that are measured. Whether all of that lies inside the file is looked at here.

use std::path::Path;

use super::MeasureError;

/// The largest firmware that is measured: it lies below 4 GiB and OVMF builds are 2 to 16 MiB.
const MAX_FIRMWARE_BYTES: u64 = 64 * 1024 * 1024;

/// The footer table begins this many bytes before the end of the file (OvmfPkg/ResetVector).
pub(super) const FOOTER_FROM_END: usize = 32;

/// A table entry's length and identifier.
pub(super) const ENTRY_HEADER_BYTES: usize = 18;

/// `dc886566-984a-4798-a75e-5585a7bf67cc`, little-endian: where the SEV metadata are.
const METADATA_GUID: [u8; 16] = [
    0x66, 0x65, 0x88, 0xdc, 0x4a, 0x98, 0x98, 0x47, 0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc,
];

/// The metadata's header, and each of its items.
const METADATA_HEADER_BYTES: usize = 16;
const METADATA_ITEM_BYTES: usize = 12;

/// Whether every offset and length that a firmware file names lies inside it.
pub(super) fn check_firmware(path: &Path) -> Result<(), MeasureError> {
    let metadata = std::fs::metadata(path).map_err(|error| MeasureError::file(path, error))?;
    if !metadata.is_file() {
        return Err(MeasureError::Firmware("it is no file"));
    }
    if metadata.len() > MAX_FIRMWARE_BYTES {
        return Err(MeasureError::Firmware("it is longer than any firmware"));
    }
    let data = std::fs::read(path).map_err(|error| MeasureError::file(path, error))?;
    check_inside(&data)
}

fn check_inside(data: &[u8]) -> Result<(), MeasureError> {
    let footer = data
        .len()
        .checked_sub(FOOTER_FROM_END + ENTRY_HEADER_BYTES)
        .ok_or(MeasureError::Firmware("it is too short for one"))?;
    let table = length_at(data, footer)
        .and_then(|length| length.checked_sub(ENTRY_HEADER_BYTES))
        .and_then(|length| data.get(footer.checked_sub(length)?..footer))
        .ok_or(MeasureError::Firmware("its table does not lie inside it"))?;
    let entry = metadata_entry(table)?;
    check_metadata(data, entry)
}

/// Walks the table from its end, as its entries' lengths stand behind them, to the entry of the SEV metadata.
fn metadata_entry(mut table: &[u8]) -> Result<&[u8], MeasureError> {
    let mut found = None;
    while let Some(header) = table.len().checked_sub(ENTRY_HEADER_BYTES) {
        let entry = length_at(table, header)
            .and_then(|length| header.checked_sub(length.checked_sub(ENTRY_HEADER_BYTES)?))
            .and_then(|start| table.get(start..header))
            .ok_or(MeasureError::Firmware("an entry of its table does not fit"))?;
        if table[header + 2..] == METADATA_GUID {
            found = Some(entry);
        }
        table = &table[..header - entry.len()];
    }
    found.ok_or(MeasureError::Firmware("it has no SEV metadata"))
}

/// An item of the page with the hashes of kernel, initrd and command line (OvmfPkg/AmdSev).
const KERNEL_HASHES: usize = 0x10;

const PAGE_BYTES: usize = 4096;

/// The most pages that metadata may have measured, 64 MiB: real ones name less than one. Each costs a hash.
const MAX_PAGES: usize = 16 * 1024;

fn check_metadata(data: &[u8], entry: &[u8]) -> Result<(), MeasureError> {
    let outside = MeasureError::Firmware("its SEV metadata do not lie inside it");
    let lies_inside = || {
        let start = data.len().checked_sub(word_at(entry, 0)?)?;
        let header = data.get(start..)?;
        let (length, items) = (word_at(header, 4)?, word_at(header, 12)?);
        let items = items.checked_mul(METADATA_ITEM_BYTES)?;
        let whole = items.checked_add(METADATA_HEADER_BYTES)?;
        let items = header.get(METADATA_HEADER_BYTES..whole)?;
        (length >= whole && length <= header.len()).then_some(items)
    };
    let mut pages = 0_usize;
    for item in lies_inside()
        .ok_or(outside)?
        .chunks_exact(METADATA_ITEM_BYTES)
    {
        let size = word_at(item, 4).unwrap_or(usize::MAX);
        // `sev` reads the lowest byte of the kind alone.
        let is_hashes = word_at(item, 8).is_some_and(|kind| kind & 0xFF == KERNEL_HASHES);
        if is_hashes && size != PAGE_BYTES {
            return Err(MeasureError::Firmware("its hashes do not take one page"));
        }
        pages = pages.saturating_add(size / PAGE_BYTES);
    }
    if pages > MAX_PAGES {
        return Err(MeasureError::Firmware(
            "it has more pages measured than any",
        ));
    }
    Ok(())
}

fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_le_bytes(*bytes).into())
}

fn word_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}
