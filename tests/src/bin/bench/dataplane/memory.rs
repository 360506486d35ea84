//! The memory of each Wasm VM in a process.

use std::fs;

use anyhow::{Context as _, Result};

/// V8 reserves this much of the address space behind a VM's memory, so that no access needs a check.
const RESERVED: u64 = 1 << 30;

/// The sizes of the VMs' linear memories in bytes, the largest first: all that a module has ever asked for.
pub(super) fn of_vms(process: u32) -> Result<Vec<u64>> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).context("the process is gone")?;
    Ok(read(&maps))
}

fn read(maps: &str) -> Vec<u64> {
    let mappings: Vec<_> = maps.lines().filter_map(mapping).collect();
    let mut sizes: Vec<_> = mappings
        .iter()
        .zip(mappings.iter().skip(1))
        .filter(|(memory, behind)| {
            memory.access.starts_with("rw") && behind.access.starts_with("---") && behind.size() > RESERVED
        })
        .map(|(memory, _)| memory.size())
        .collect();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    sizes
}

struct Mapping<'l> {
    from: u64,
    to: u64,
    access: &'l str,
}

impl Mapping<'_> {
    const fn size(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// `7f0000000000-7f0000120000 rw-p 00000000 00:00 0`.
fn mapping(line: &str) -> Option<Mapping<'_>> {
    let mut fields = line.split(' ');
    let (from, to) = fields.next()?.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    Some(Mapping { from: address(from)?, to: address(to)?, access: fields.next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_is_what_stands_before_a_great_reservation() {
        let maps = "10000-20000 rw-p 00000000 00:00 0 [heap]\n\
                    20000-21000 ---p 00000000 00:00 0\n\
                    100000-220000 rw-p 00000000 00:00 0\n\
                    220000-200000000 ---p 00000000 00:00 0\n\
                    200000000-200010000 rw-p 00000000 00:00 0\n\
                    200010000-400000000 ---p 00000000 00:00 0\n";
        assert_eq!(read(maps), [0x12_0000, 0x1_0000]);
    }
}
