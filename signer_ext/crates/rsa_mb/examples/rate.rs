//! Signatures a second on one core in CPU time, against `openssl speed` and the multipliers' bound.
//!
//! `taskset -c 1 cargo run --release --example rate -- [rounds [seconds]] [--json]`
//!
//! The kernel, aws-lc and `openssl speed rsa2048` (which counts CPU time too) take turns, a second
//! each or as many as said, so that a clock or a neighbour that changes meets them alike; the middle
//! of the rounds is printed, with `--json` as one line of JSON for `bench/signer.py`. The bound is what `vpmadd52` instructions the core completes in such a second when they do
//! nothing but wait for each other's ports, over how many of them a signature needs.
#![allow(missing_docs, clippy::print_stdout)]

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use rsa_mb::{Backend, Rsa2048Key};

/// Multiply instructions of a group of eight. A product of two 20-limb numbers takes 800, a square
/// 420, a reduction 801; of each there are, for each prime:
const PRODUCTS: u32 = 1 + 15 + 204 + 1; // into Montgomery form, table, windows, out of it
const SQUARES: u32 = 15 + 5 * 204; // table, windows
const REDUCTIONS: u32 = 1 + PRODUCTS + SQUARES;
/// Recombination: one product modulo `p`, one without reduction.
const RECOMBINATION: u32 = 801 + 2 * 800;
/// The check: 16 squares and two products of 40 limbs, each reduced in 40 steps.
const CHECK: u32 = 16 * (420 + 420 + 800) + 2 * 4 * 800 + 18 * (40 * 80 + 1);
/// All of it, for a signature.
const MULTIPLICATIONS: u32 =
    (2 * (800 * PRODUCTS + 420 * SQUARES + 801 * REDUCTIONS) + RECOMBINATION + CHECK) / 8;

/// CPU time of this process (one thread).
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let line = std::fs::read_to_string("/proc/self/schedstat")?;
    Ok(Duration::from_nanos(line.split_whitespace().next().ok_or("no CPU time")?.parse()?))
}

/// How often a second of CPU time `work` counts, in a turn.
fn rate(
    turn: Duration,
    mut work: impl FnMut() -> Result<f64, Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let (started, before) = (Instant::now(), cpu_time()?);
    let mut done = 0.0;
    while started.elapsed() < turn {
        done += work()?;
    }
    Ok(done / cpu_time()?.saturating_sub(before).as_secs_f64())
}

/// Signs 256 digests.
fn sign(key: &Rsa2048Key, backend: Backend) -> Result<f64, Box<dyn Error>> {
    let digests: [[u8; 32]; 256] = std::array::from_fn(|place| {
        let mut digest = [0x5a; 32];
        digest[..8].copy_from_slice(&place.to_le_bytes());
        digest
    });
    let mut signatures = Vec::new();
    let stats = key.sign_many_with(backend, &digests, &mut signatures)?;
    if stats.repaired != 0 {
        return Err("a signature was repaired: this machine computes wrongly".into());
    }
    Ok(256.0)
}

/// What `openssl speed` says of signing.
fn openssl(turn: Duration) -> Result<f64, Box<dyn Error>> {
    let seconds = turn.as_secs().to_string();
    let output =
        Command::new("openssl").args(["speed", "-mr", "-seconds", &seconds, "rsa2048"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    // +F2:<number>:<bits>:<signatures a second>:<verifications a second>
    let line = text.lines().find(|line| line.starts_with("+F2")).ok_or("openssl said nothing")?;
    let rate = line.split(':').nth(3).ok_or("openssl said too little")?.parse()?;
    Ok(rate)
}

/// Completes 16 million independent multiply instructions.
#[cfg(target_arch = "x86_64")]
fn multiply() -> f64 {
    use core::arch::x86_64::{_mm512_madd52lo_epu64, _mm512_set1_epi64};

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn run() {
        let factor = _mm512_set1_epi64(std::hint::black_box(3));
        let mut sums = [factor; 16];
        for _ in 0..1_000_000 {
            for sum in &mut sums {
                *sum = _mm512_madd52lo_epu64(*sum, factor, factor);
            }
        }
        std::hint::black_box(sums);
    }
    // SAFETY: called only where `rsa_mb::is_available` says that the instructions are there.
    unsafe { run() };
    16e6
}

#[cfg(not(target_arch = "x86_64"))]
fn multiply() -> f64 {
    0.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() -> Result<(), Box<dyn Error>> {
    let (options, numbers): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let rounds: usize = numbers.first().map_or(Ok(5), |value| value.parse())?;
    let turn = Duration::from_secs(numbers.get(1).map_or(Ok(1), |value| value.parse())?);
    let pair = KeyPair::generate(KeySize::Rsa2048)?;
    let der: Pkcs8V1Der<'_> = pair.as_der()?;
    let key = Rsa2048Key::from_der(der.as_ref())?;
    let has_kernel = rsa_mb::is_available();
    let (mut vector, mut portable, mut openssl_rates) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bounds, mut shares) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        openssl_rates.push(openssl(turn)?);
        portable.push(rate(turn, || sign(&key, Backend::Portable))?);
        if has_kernel {
            let signed = rate(turn, || sign(&key, Backend::Ifma))?;
            let bound = rate(turn, || Ok(multiply()))? / f64::from(MULTIPLICATIONS);
            shares.push(signed / bound);
            bounds.push(bound);
            vector.push(signed);
        }
    }
    if options.iter().any(|option| option == "--json") {
        let number = |rates: Vec<f64>| {
            if rates.is_empty() { "null".into() } else { format!("{:.1}", median(rates)) }
        };
        println!(
            r#"{{"openssl_per_s":{},"portable_per_s":{},"kernel_per_s":{},"bound_per_s":{}}}"#,
            number(openssl_rates),
            number(portable),
            number(vector),
            number(bounds),
        );
        return Ok(());
    }
    let against = |rates: &[f64]| {
        median(rates.iter().zip(&openssl_rates).map(|(ours, theirs)| ours / theirs).collect())
    };
    println!("openssl speed   {:8.0} signatures/s", median(openssl_rates.clone()));
    let ratio = against(&portable);
    println!("aws-lc, checked {:8.0}   {ratio:.2} x openssl", median(portable));
    if has_kernel {
        let (ratio, share) = (against(&vector), median(shares));
        let rate = median(vector);
        println!("kernel, checked {rate:8.0}   {ratio:.2} x openssl");
        println!("share of the bound ({MULTIPLICATIONS} multiplications each): {share:.2}");
    }
    Ok(())
}
