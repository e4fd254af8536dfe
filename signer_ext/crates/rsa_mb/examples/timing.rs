//! Does the time of a signature depend on its key, or the time of an exponentiation on its exponent?
//!
//! In the manner of dudect (Reparaz, Balasch and Verbauwhede, "Dude, is my code constant time?", DATE
//! 2017): two classes, one run of each at a time in random order, as clocks drift; the largest
//! differences left out (four cuts, from 2 % to 50 %), and a t-test of the rest; the largest |t| counts.
//! Above 5 it shows a leak; below, that none was found with so many runs.
//! The controls, a kernel that skips zero digits and reads only the table entry it wants, must be found
//! leaking, or the method is too blunt.
//!
//! - Exponents: the exponentiation alone, so that they can be of any weight, also impossible ones.
//! - Keys: eight signatures by `sign_many`, check and all; one key against many. The one is that with
//!   the most zero digits, the same for the control. Before each run that counts the same key signs
//!   other messages, so that what lies in which cache is alike in both classes.
//! - Messages: the same of one key, with one set of digests against many.
//!
//! `taskset -c 1 cargo run --release --features timing-probe --example timing -- [runs]`
#![allow(missing_docs, clippy::print_stdout)]
// A program for the console, without input: a panic is an answer, and counts are small.
#![allow(clippy::indexing_slicing, clippy::cast_precision_loss)]

#[cfg(target_arch = "x86_64")]
mod measure {
    use std::error::Error;

    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rand::{SecureRandom, SystemRandom};
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use rsa_mb::{KeyProbe, Probe, Rsa2048Key};

    /// |t| from which on a leak is taken for proven.
    pub(crate) const THRESHOLD: f64 = 5.0;
    /// How many keys the many are.
    const KEYS: usize = 48;

    pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;
    /// Words of an exponent.
    pub(crate) type Exponent = [u64; 16];
    type Digests = [[u8; 32]; 8];

    fn random<const N: usize>() -> Outcome<[u64; N]> {
        let mut bytes = [[0; 8]; N];
        SystemRandom::new().fill(bytes.as_flattened_mut())?;
        Ok(bytes.map(u64::from_le_bytes))
    }

    fn random_digests() -> Outcome<Digests> {
        let mut digests = Digests::default();
        SystemRandom::new().fill(digests.as_flattened_mut())?;
        Ok(digests)
    }

    /// The largest t of the differences between two classes of runs. `run` gets the class and gives the
    /// time.
    fn compare(runs: usize, mut run: impl FnMut(usize) -> Outcome<u64>) -> Outcome<f64> {
        let mut differences = Vec::new();
        for number in 0..runs + runs / 10 {
            let first = usize::from(random::<1>()?[0] & 1 == 1);
            let mut times = [0; 2];
            for class in [first, 1 - first] {
                times[class] = run(class)?;
            }
            if number >= runs / 10 {
                differences.push(times[0] as f64 - times[1] as f64);
            }
        }
        differences.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        // What was interrupted says nothing about secrets; how much that is depends on the machine.
        // Cutting by size alone leaves the signs, which carry the answer, to chance if there is no leak.
        let statistic = |share| student(&differences[..differences.len() * share / 100]);
        let largest = |a: f64, b: f64| if a.abs() < b.abs() { b } else { a };
        Ok([50, 75, 90, 98].map(statistic).into_iter().fold(0.0, largest))
    }

    /// Two classes of exponents, modulo one random number.
    pub(crate) fn exponents(
        classes: [&dyn Fn(Exponent) -> Exponent; 2],
        runs: usize,
        leaky: bool,
    ) -> Outcome<f64> {
        let mut modulus: Exponent = random()?;
        modulus[0] |= 1;
        modulus[15] |= 1 << 63;
        let mut probe = Probe::new(&modulus).ok_or("no AVX-512 IFMA here")?;
        compare(runs, |class| {
            probe.set_exponent(&classes[class](random()?));
            Ok(timed(|| probe.raise(leaky)))
        })
    }

    /// Keys; the first is the one with the most zero digits.
    pub(crate) fn new_keys() -> Outcome<Vec<KeyProbe>> {
        let mut keys = Vec::new();
        for _ in 0..KEYS {
            let pair = KeyPair::generate(KeySize::Rsa2048)?;
            let der: Pkcs8V1Der<'_> = pair.as_der()?;
            keys.push(KeyProbe::new(Rsa2048Key::from_der(der.as_ref())?));
        }
        keys.sort_by_key(|key| std::cmp::Reverse(key.zero_digits()));
        Ok(keys)
    }

    /// The first key against the others.
    pub(crate) fn keys(keys: &mut [KeyProbe], runs: usize, leaky: bool) -> Outcome<f64> {
        compare(runs, |class| {
            let other = usize::try_from(random::<1>()?[0] % (KEYS as u64 - 1))?;
            let key = &mut keys[if class == 0 { 0 } else { 1 + other }];
            sign(key, &random_digests()?, leaky)?;
            sign(key, &random_digests()?, leaky)
        })
    }

    /// One set of messages against others.
    pub(crate) fn messages(key: &mut KeyProbe, runs: usize) -> Outcome<f64> {
        let fixed = random_digests()?;
        compare(runs, |class| {
            let fresh = random_digests()?;
            sign(key, &random_digests()?, false)?;
            sign(key, if class == 0 { &fixed } else { &fresh }, false)
        })
    }

    /// The time of eight signatures; of the leaking control, the exponentiations alone.
    fn sign(key: &mut KeyProbe, digests: &Digests, leaky: bool) -> Outcome<u64> {
        if leaky {
            return Ok(timed(|| key.leak(digests)));
        }
        let mut signatures = Vec::with_capacity(digests.len());
        let mut stats = Ok(rsa_mb::SignStats::default());
        let spent = timed(|| stats = key.key().sign_many(digests, &mut signatures));
        if stats?.vector == digests.len() { Ok(spent) } else { Err("not by the kernel".into()) }
    }

    /// The mean in units of its own spread.
    fn student(values: &[f64]) -> f64 {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let spread = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        mean / (spread / count).sqrt()
    }

    fn timed(work: impl FnOnce()) -> u64 {
        let before = ticks();
        work();
        ticks() - before
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
fn main() -> measure::Outcome<()> {
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
    let mut keys = measure::new_keys()?;
    let kernel = [
        ("random against random exponents", measure::exponents([&random, &random], runs, false)?),
        ("random against a fixed exponent", measure::exponents([&random, &fixed], runs, false)?),
        ("random against sparse exponents", measure::exponents([&random, &sparse], runs, false)?),
        ("one key against others, signing", measure::keys(&mut keys, 2 * runs, false)?),
        ("the same messages against others", measure::messages(&mut keys[0], runs)?),
    ];
    let controls = [
        ("sparse exponents, leaking control", measure::exponents([&random, &sparse], runs, true)?),
        ("one key, leaking control", measure::keys(&mut keys, 2 * runs, true)?),
    ];
    for (name, t) in kernel.iter().chain(&controls) {
        println!("{name:34} t = {t:8.2}");
    }
    if controls.iter().any(|(_, t)| t.abs() < measure::THRESHOLD) {
        return Err("a control was not found leaking: more runs, or a quieter machine".into());
    }
    if kernel.iter().any(|(_, t)| t.abs() > measure::THRESHOLD) {
        return Err("the time depends on what is secret".into());
    }
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {}
