//! How the kernel keeps its clock, as whoever keeps it right has told it. The question changes nothing, and needs no
//! privilege; where a sandbox forbids the call there are no such families.

use super::out::{Kind, Out};
use std::io;

/// Part of a million, and of a hertz, in which the kernel counts frequencies.
const PPM: f64 = 1_000_000.0 * 65_536.0;
const MICRO: f64 = 1e6;
const NANO: f64 = 1e9;

/// Asks the kernel, and writes what it says by the names of node_exporter.
pub fn clock(out: &mut dyn Out) -> io::Result<()> {
    let (state, told) = ask()?;
    write(state, &told, out);
    Ok(())
}

fn ask() -> io::Result<(i32, libc::timex)> {
    let mut told = std::mem::MaybeUninit::<libc::timex>::zeroed();
    #[expect(
        unsafe_code,
        reason = "no safe library has the call; a zeroed `timex` is a question that sets nothing, and the kernel fills \
                  all of it"
    )]
    let (state, told) = unsafe { (libc::adjtimex(told.as_mut_ptr()), told.assume_init()) };
    if state < 0 { Err(io::Error::last_os_error()) } else { Ok((state, told)) }
}

fn write(state: i32, told: &libc::timex, out: &mut dyn Out) {
    let unit = if told.status & libc::STA_NANO != 0 { NANO } else { MICRO };
    let real = |value: libc::c_long| value as f64;
    let mut put = |name: &str, kind, help: &str, value: f64| {
        out.one(&format!("node_timex_{name}"), kind, help, value.into());
    };
    let gauges = [
        ("offset_seconds", "Offset of the clock from the reference.", real(told.offset) / unit),
        ("frequency_adjustment_ratio", "How much faster the clock is let run.", 1.0 + real(told.freq) / PPM),
        ("maxerror_seconds", "Largest error that the clock may have.", real(told.maxerror) / MICRO),
        ("estimated_error_seconds", "Error that the clock is held to have.", real(told.esterror) / MICRO),
        ("status", "Bits of the clock's state.", f64::from(told.status)),
        ("loop_time_constant", "Time constant of the loop that disciplines the clock.", real(told.constant)),
        ("tick_seconds", "Time between two ticks.", real(told.tick) / MICRO),
        ("pps_frequency_hertz", "Frequency of pulses per second.", real(told.ppsfreq) / PPM),
        ("pps_jitter_seconds", "Jitter of pulses per second.", real(told.jitter) / unit),
        ("pps_shift_seconds", "Length of the interval of pulses per second.", f64::from(told.shift)),
        ("pps_stability_hertz", "Stability of pulses per second.", real(told.stabil) / PPM),
        ("tai_offset_seconds", "Offset of the international atomic time.", f64::from(told.tai)),
        (
            "sync_status",
            "Whether something keeps the clock right.",
            f64::from(u8::from(state != libc::TIME_ERROR)),
        ),
    ];
    for (name, help, value) in gauges {
        put(name, Kind::Gauge, help, value);
    }
    let counters = [
        ("pps_jitter_total", "Times that the jitter was too large.", told.jitcnt),
        ("pps_calibration_total", "Intervals of calibration.", told.calcnt),
        ("pps_error_total", "Errors of calibration.", told.errcnt),
        ("pps_stability_exceeded_total", "Times that the stability was too small.", told.stbcnt),
    ];
    for (name, help, value) in counters {
        put(name, Kind::Counter, help, real(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watcher::node::out::Text;

    #[test]
    fn units_are_those_of_the_clock_s_state() {
        let Ok((_, mut told)) = ask() else {
            // A sandbox forbids it here; then nothing is told.
            return;
        };
        (told.offset, told.status, told.freq, told.tick, told.jitcnt) = (2_500_000, 0, 65_536, 10_000, 7);
        let page = |state, told: &libc::timex| {
            let mut text = Text::default();
            text.begin(Vec::new());
            write(state, told, &mut text);
            String::from_utf8(text.end()).expect("text")
        };
        let micro = page(libc::TIME_ERROR, &told);
        told.status = libc::STA_NANO;
        let nano = page(libc::TIME_OK, &told);
        for (page, line) in [
            (&micro, "node_timex_offset_seconds 2.5\n"),
            (&micro, "node_timex_sync_status 0\n"),
            (&micro, "node_timex_status 0\n"),
            (&nano, "node_timex_offset_seconds 0.0025\n"),
            (&nano, "node_timex_sync_status 1\n"),
            (&nano, "node_timex_frequency_adjustment_ratio 1.000001\n"),
            (&nano, "node_timex_tick_seconds 0.01\n"),
            (&nano, "node_timex_pps_jitter_total 7\n"),
        ] {
            assert!(page.contains(line), "{line} in {page}");
        }
        assert_eq!(micro.lines().filter(|line| !line.starts_with('#')).count(), 17);
    }
}
