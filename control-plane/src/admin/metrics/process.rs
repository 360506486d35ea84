//! What the system says of this process, under the names that Prometheus' own libraries use.

use std::fs;

use super::family::Families;

/// `USER_HZ`: the unit of times in `/proc`, the same on every Linux whatever the kernel's own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds what can be found out; where there is no `/proc`, nothing.
pub(super) fn families(families: &mut Families) {
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse) {
        families
            .counter("process_cpu_seconds_total", "User and system time.")
            .sample(&[], stat.cpu_ticks / TICKS_PER_SECOND);
        if let Some(resident) = resident() {
            families.gauge("process_resident_memory_bytes", "Memory in use.").sample(&[], resident);
        }
        families.gauge("process_virtual_memory_bytes", "Address space.").sample(&[], stat.virtual_bytes);
        families.gauge("process_threads", "Threads.").sample(&[], stat.threads);
        if let Some(boot) = boot_time() {
            families
                .gauge("process_start_time_seconds", "When the process started, since 1970.")
                .sample(&[], boot + stat.start_ticks / TICKS_PER_SECOND);
        }
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        families.gauge("process_open_fds", "Open file descriptors.").sample(&[], entries.count());
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let max = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    if let Some(max) = max.and_then(|text| text.parse::<u64>().ok()) {
        families.gauge("process_max_fds", "Most file descriptors that may be open.").sample(&[], max);
    }
}

#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    threads: u64,
    start_ticks: f64,
    virtual_bytes: u64,
}

impl Stat {
    /// `proc_pid_stat(5)`. The second field is the program's name in brackets, in which anything may stand.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(") ")?;
        // What follows is the third field.
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            cpu_ticks: field(14)?.parse::<f64>().ok()? + field(15)?.parse::<f64>().ok()?,
            threads: field(20)?.parse().ok()?,
            start_ticks: field(22)?.parse().ok()?,
            virtual_bytes: field(23)?.parse().ok()?,
        })
    }
}

/// From `status`, which does not depend on the size of a page.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next())?;
    Some(kib.parse::<u64>().ok()? * 1024)
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name_whatever_it_is() {
        let text =
            "7 (a) b) S 1 7 7 0 -1 4 9 0 0 0 150 50 0 0 20 0 12 0 4200 1048576 300 18446744073709551615 1";
        let expected = Stat { cpu_ticks: 200.0, threads: 12, start_ticks: 4200.0, virtual_bytes: 1_048_576 };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("7 (a"), None);
    }
}
