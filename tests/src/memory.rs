//! The memory of a process, as Linux tells it:
//! <https://docs.kernel.org/filesystems/proc.html>.

use nix::unistd::Pid;

/// What is in memory, in KB; 0 where the process is gone.
#[must_use]
pub fn resident(pid: Pid) -> u64 {
    of_process(pid, "status", "VmRSS:")
}

/// The most that has been in memory, in KB; 0 where the process is gone.
#[must_use]
pub fn peak(pid: Pid) -> u64 {
    of_process(pid, "status", "VmHWM:")
}

/// What of it no other process shares, in KB; 0 where the process is gone.
#[must_use]
pub fn private(pid: Pid) -> u64 {
    of_process(pid, "smaps_rollup", "Private_Dirty:")
}

/// The memory of the machine, in KB.
#[must_use]
pub fn of_machine() -> u64 {
    line("/proc/meminfo", "MemTotal:")
}

fn of_process(pid: Pid, file: &str, name: &str) -> u64 {
    line(&format!("/proc/{pid}/{file}"), name)
}

fn line(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    number.unwrap_or(0)
}
