//! Does the time of an exponentiation depend on its secret exponent?
//!
//! In the manner of dudect (Reparaz, Balasch and Verbauwhede, "Dude, is my code constant time?", DATE
//! 2017): two classes of exponents in random order, the time of each run, the slowest runs left out,
//! and Welch's t-test between the classes. |t| above 5 shows a leak; below, that none was found with so
//! many runs. The control, a kernel that skips zero digits, must be found leaking, or the method is
//! too blunt.
//!
//! `taskset -c 1 cargo run --release --features timing-probe --example timing -- [runs]`
#![allow(missing_docs, clippy::print_stdout)]
// A program for the console, without input: a panic is an answer, and counts are small.
#![allow(clippy::indexing_slicing, clippy::cast_precision_loss)]

#[cfg(target_arch = "x86_64")]
mod measure {
    use std::error::Error;

    use aws_lc_rs::rand::{SecureRandom, SystemRandom};
    use rsa_mb::Probe;

    /// |t| from which on a leak is taken for proven.
    pub(crate) const THRESHOLD: f64 = 5.0;

    /// Words of an exponent.
    type Exponent = [u64; 16];

    fn random(random: &SystemRandom) -> Result<Exponent, Box<dyn Error>> {
        let mut bytes = [[0; 8]; 16];
        random.fill(bytes.as_flattened_mut())?;
        Ok(bytes.map(u64::from_le_bytes))
    }

    /// Welch's t between runs with two classes of exponents.
    pub(crate) fn compare(
        classes: [&dyn Fn(Exponent) -> Exponent; 2],
        runs: usize,
        leaky: bool,
    ) -> Result<f64, Box<dyn Error>> {
        let source = SystemRandom::new();
        let mut modulus = random(&source)?;
        modulus[0] |= 1;
        modulus[15] |= 1 << 63;
        let mut probe = Probe::new(&modulus).ok_or("no AVX-512 IFMA here")?;
        let mut times = [Vec::new(), Vec::new()];
        for run in 0..runs + runs / 10 {
            let fresh = random(&source)?;
            let class = usize::from(random(&source)?[0] & 1 == 1);
            probe.set_exponent(&classes[class](fresh));
            let before = ticks();
            probe.raise(leaky);
            let spent = ticks() - before;
            if run >= runs / 10 {
                times[class].push(spent);
            }
        }
        let mut all = times.concat();
        all.sort_unstable();
        // What was interrupted says nothing about the exponent.
        let longest = all[all.len() * 9 / 10];
        let [first, second] = times.map(|times| {
            moments(times.iter().filter(|time| **time <= longest).map(|time| *time as f64))
        });
        Ok((first.0 - second.0) / (first.1 + second.1).sqrt())
    }

    /// Mean, and variance of the mean.
    fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
        let count = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / count;
        let spread = values.map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, spread / count)
    }

    /// The processor's clock.
    fn ticks() -> u64 {
        // SAFETY: every x86-64 processor has SSE2, which the fence needs.
        unsafe { core::arch::x86_64::_mm_lfence() };
        // SAFETY: every x86-64 processor has the time-stamp counter.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
}

#[cfg(target_arch = "x86_64")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runs = std::env::args().nth(1).map_or(Ok(4000), |value| value.parse())?;
    let mut chosen = [0x9e37_79b9_7f4a_7c15; 16];
    chosen[15] |= 1 << 63;
    let fixed = move |_| chosen;
    let sparse = |fresh: [u64; 16]| {
        let mut sparse = [0; 16];
        sparse[15] = fresh[15];
        sparse
    };
    let random = |fresh| fresh;
    let by_random = measure::compare([&random, &random], runs, false)?;
    let by_fixed = measure::compare([&random, &fixed], runs, false)?;
    let by_weight = measure::compare([&random, &sparse], runs, false)?;
    let control = measure::compare([&random, &sparse], runs, true)?;
    println!("random against random exponents   t = {by_random:8.2}");
    println!("random against a fixed exponent   t = {by_fixed:8.2}");
    println!("random against sparse exponents   t = {by_weight:8.2}");
    println!("the same with the leaky control   t = {control:8.2}");
    if control.abs() < measure::THRESHOLD {
        return Err("the control was not found leaking: more runs, or a quieter machine".into());
    }
    if [by_random, by_fixed, by_weight].iter().any(|t| t.abs() > measure::THRESHOLD) {
        return Err("the time depends on the exponent".into());
    }
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {}
