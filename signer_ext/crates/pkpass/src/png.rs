//! Judges a PNG without decoding it: its header tells whether it is too large to be decoded by
//! anyone, its chunks whether all of it has arrived. [PNG specification, sections 5 and 11.2].

use crate::error::{Error, Reason, Result};

/// Most bytes an image file may have (2 MiB).
pub const MAX_PNG_BYTES: usize = 2 * 1024 * 1024;
/// Most pixels an image may have (4 megapixels).
pub const MAX_PNG_PIXELS: u64 = 4_000_000;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// Signature, then IHDR: length, type, 13 bytes of data, CRC.
const HEADER_BYTES: usize = 8 + 4 + 4 + 13 + 4;
/// Of one chunk.
const MAX_CHUNK_BYTES: u32 = i32::MAX.unsigned_abs();

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PngSize {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// The size that the header of a whole PNG declares.
///
/// Refused as [`Reason::NotAPng`], [`Reason::ImageTooLarge`] or, when a chunk is cut, changed or
/// missing, or something follows the last, as [`Reason::DamagedPng`].
pub fn inspect(data: &[u8]) -> Result<PngSize> {
    if data.len() > MAX_PNG_BYTES {
        return Err(Error::new(
            Reason::ImageTooLarge,
            format!(
                "the image has {} bytes; at most {MAX_PNG_BYTES} are allowed: scale it down or \
                 compress it",
                data.len()
            ),
        ));
    }
    let (size, depth_and_method) = header(data).ok_or_else(|| {
        Error::new(
            Reason::NotAPng,
            "not a PNG image: its header is missing or damaged; export it as PNG again",
        )
    })?;
    let known_form = matches!(
        depth_and_method,
        // (bit depth, colour type) pairs of PNG table 11.1; deflate, adaptive filters, plain or
        // Adam7.
        [1 | 2 | 4 | 8 | 16, 0, 0, 0, 0 | 1]
            | [8 | 16, 2 | 4 | 6, 0, 0, 0 | 1]
            | [1 | 2 | 4 | 8, 3, 0, 0, 0 | 1]
    );
    if !known_form || size.width == 0 || size.height == 0 {
        return Err(Error::new(
            Reason::NotAPng,
            "the PNG header declares an image that does not exist in PNG; export it as PNG again",
        ));
    }
    let pixels = u64::from(size.width) * u64::from(size.height);
    if pixels > MAX_PNG_PIXELS {
        return Err(Error::new(
            Reason::ImageTooLarge,
            format!(
                "the image is {} x {} pixels; at most {MAX_PNG_PIXELS} pixels are allowed: scale \
                 it down",
                size.width, size.height
            ),
        ));
    }
    walk(data.get(HEADER_BYTES..).unwrap_or_default()).map_err(|what| {
        Error::new(
            Reason::DamagedPng,
            format!("the PNG is damaged: {what}; export it as PNG again"),
        )
    })?;
    Ok(size)
}

/// Follows the chunks after the header to the end, else says what is wrong.
fn walk(mut rest: &[u8]) -> std::result::Result<(), &'static str> {
    let mut has_data = false;
    loop {
        let (kind, after) = chunk(rest)?;
        rest = after;
        match kind {
            b"IHDR" => return Err("it has two headers"),
            b"IDAT" => has_data = true,
            b"IEND" if !has_data => return Err("it has no image data"),
            b"IEND" if !rest.is_empty() => return Err("something follows its end"),
            b"IEND" => return Ok(()),
            _ => {}
        }
    }
}

/// The type of the first chunk, and what comes after the chunk.
fn chunk(rest: &[u8]) -> std::result::Result<(&[u8; 4], &[u8]), &'static str> {
    const CUT: &str = "it is cut off";
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(CUT)?;
    let length = u32::from_be_bytes(*length);
    let (kind, _) = rest.split_first_chunk::<4>().ok_or(CUT)?;
    if length > MAX_CHUNK_BYTES || !kind.iter().all(u8::is_ascii_alphabetic) {
        return Err("a chunk is none");
    }
    let end = usize::try_from(length).ok().and_then(|length| length.checked_add(kind.len()));
    let (checked, rest) = end.and_then(|end| rest.split_at_checked(end)).ok_or(CUT)?;
    let (crc, rest) = rest.split_first_chunk::<4>().ok_or(CUT)?;
    if crc32fast::hash(checked) != u32::from_be_bytes(*crc) {
        return Err("a checksum is wrong");
    }
    Ok((kind, rest))
}

fn header(data: &[u8]) -> Option<(PngSize, [u8; 5])> {
    let rest = data.get(..HEADER_BYTES)?.strip_prefix(SIGNATURE)?.strip_prefix(&[0, 0, 0, 13])?;
    let (checked, crc) = rest.split_at_checked(4 + 13)?;
    if crc32fast::hash(checked).to_be_bytes() != *crc {
        return None;
    }
    let rest = checked.strip_prefix(b"IHDR")?;
    let (width, rest) = rest.split_first_chunk::<4>()?;
    let (height, rest) = rest.split_first_chunk::<4>()?;
    let size = PngSize { width: u32::from_be_bytes(*width), height: u32::from_be_bytes(*height) };
    Some((size, *rest.first_chunk::<5>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
        let checked = [kind.as_slice(), content].concat();
        let length = u32::try_from(content.len()).unwrap();
        let crc = crc32fast::hash(&checked);
        [length.to_be_bytes().as_slice(), &checked, &crc.to_be_bytes()].concat()
    }

    fn header(width: u32, height: u32, tail: [u8; 5]) -> Vec<u8> {
        let content = [&width.to_be_bytes(), &height.to_be_bytes(), tail.as_slice()].concat();
        [SIGNATURE, &chunk(*b"IHDR", &content)].concat()
    }

    /// Whole as far as can be told without decoding.
    fn png(width: u32, height: u32, tail: [u8; 5]) -> Vec<u8> {
        with_chunks(width, height, tail, &[chunk(*b"IDAT", b"pixels"), chunk(*b"IEND", b"")])
    }

    fn with_chunks(width: u32, height: u32, tail: [u8; 5], chunks: &[Vec<u8>]) -> Vec<u8> {
        [header(width, height, tail), chunks.concat()].concat()
    }

    /// A header's size is read, big-endian.
    #[test]
    fn reads_the_size() {
        assert_eq!(
            inspect(&png(320, 100, [8, 6, 0, 0, 0])),
            Ok(PngSize { width: 320, height: 100 })
        );
    }

    /// Exactly the limit passes, one row more does not, and a product beyond 32 bits is no way
    /// round.
    #[test]
    fn refuses_too_many_pixels() {
        assert!(inspect(&png(2000, 2000, [8, 2, 0, 0, 0])).is_ok());
        for (width, height) in [(2000, 2001), (u32::MAX, u32::MAX), (65_536, 65_536)] {
            let error = inspect(&png(width, height, [8, 2, 0, 0, 0])).unwrap_err();
            assert_eq!(error.reason, Reason::ImageTooLarge);
        }
    }

    /// Exactly the limit passes; one byte more is refused before anything is looked at.
    #[test]
    fn refuses_too_many_bytes() {
        let tail = [8, 6, 0, 0, 0];
        let padded = |bytes| {
            let padding = chunk(*b"paDd", &vec![0; bytes]);
            with_chunks(1, 1, tail, &[padding, chunk(*b"IDAT", b"pixels"), chunk(*b"IEND", b"")])
        };
        let room = MAX_PNG_BYTES - padded(0).len();
        assert!(inspect(&padded(room)).is_ok());
        assert_eq!(inspect(&padded(room + 1)).unwrap_err().reason, Reason::ImageTooLarge);
        assert_eq!(inspect(&vec![0; MAX_PNG_BYTES + 1]).unwrap_err().reason, Reason::ImageTooLarge);
    }

    /// Every cut of a header and every flipped bit in it is refused.
    #[test]
    fn refuses_damaged_headers() {
        let good = png(38, 38, [8, 6, 0, 0, 0]);
        for length in 0..HEADER_BYTES {
            assert_eq!(inspect(&good[..length]).unwrap_err().reason, Reason::NotAPng);
        }
        for bit in 0..HEADER_BYTES * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(inspect(&bad).is_err(), "bit {bit}");
        }
    }

    /// Every cut behind the header and every flipped bit there is refused, and so is a byte too
    /// many.
    #[test]
    fn refuses_damaged_chunks() {
        let good = png(38, 38, [8, 6, 0, 0, 0]);
        for length in HEADER_BYTES..good.len() {
            let error = inspect(&good[..length]).unwrap_err();
            assert_eq!(error.reason, Reason::DamagedPng, "{length}");
        }
        for bit in HEADER_BYTES * 8..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(inspect(&bad).unwrap_err().reason, Reason::DamagedPng, "bit {bit}");
        }
        let error = inspect(&[good.as_slice(), b"\0"].concat()).unwrap_err();
        assert_eq!(error.reason, Reason::DamagedPng);
        assert!(error.message.contains("follows its end"), "{}", error.message);
    }

    /// Chunks that are each sound must make an image together.
    #[test]
    fn refuses_chunks_that_are_no_image() {
        let tail = [8, 6, 0, 0, 0];
        let (data, end) = (chunk(*b"IDAT", b"pixels"), chunk(*b"IEND", b""));
        let text = chunk(*b"tEXt", b"Title\0Card");
        let endless = [i32::MAX.unsigned_abs().to_be_bytes(), *b"IDAT"].concat();
        let wrong = chunk(*b"ID T", b"");
        assert!(
            inspect(&with_chunks(1, 1, tail, &[text, data.clone(), data.clone(), end.clone()]))
                .is_ok()
        );
        for (chunks, what) in [
            (vec![end.clone()], "no image data"),
            (vec![data.clone()], "cut off"),
            (vec![data.clone(), end.clone(), end.clone()], "follows its end"),
            (
                vec![header(1, 1, tail)[SIGNATURE.len()..].to_vec(), data.clone(), end],
                "two headers",
            ),
            (vec![endless], "cut off"),
            (vec![vec![0xff; 12]], "a chunk is none"),
            (vec![data, wrong], "a chunk is none"),
        ] {
            let error = inspect(&with_chunks(1, 1, tail, &chunks)).unwrap_err();
            assert_eq!(error.reason, Reason::DamagedPng);
            assert!(error.message.contains(what), "{what}: {}", error.message);
        }
    }

    /// Forms that PNG does not have, and empty images, are refused.
    #[test]
    fn refuses_impossible_forms() {
        for tail in [
            [3, 0, 0, 0, 0],
            [4, 2, 0, 0, 0],
            [16, 3, 0, 0, 0],
            [8, 5, 0, 0, 0],
            [8, 6, 1, 0, 0],
            [8, 6, 0, 1, 0],
            [8, 6, 0, 0, 2],
        ] {
            assert_eq!(inspect(&png(1, 1, tail)).unwrap_err().reason, Reason::NotAPng, "{tail:?}");
        }
        assert_eq!(inspect(&png(0, 1, [8, 6, 0, 0, 0])).unwrap_err().reason, Reason::NotAPng);
        assert_eq!(inspect(&png(1, 0, [8, 6, 0, 0, 0])).unwrap_err().reason, Reason::NotAPng);
    }
}
