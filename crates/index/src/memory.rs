//! Memory of this process, as Linux tells it.

fn status_mib(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib =
        line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Resident memory in MiB, mapped pages included; 0 where `/proc` is missing.
pub fn resident_mib() -> f64 {
    status_mib("VmRSS:")
}

/// Resident memory in MiB that belongs to no file, so that the system cannot take it back; 0 where `/proc` is missing.
pub fn anonymous_mib() -> f64 {
    status_mib("RssAnon:")
}
